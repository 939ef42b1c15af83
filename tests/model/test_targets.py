"""Targets, each against the slow and obvious way to make it, clip by clip."""

import pytest
import torch
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.codebook import Codebook, k_means, nearest
from ablate.model.packing import pack
from ablate.model.predictor import Joint
from ablate.model.targets import Pixels, Teacher
from ablate.model.vit import ViT


def told(jepa, batch):
    """Returns the targets of each sample."""
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    return torch.split(prediction.target, prediction.targets.segments.lengths)


def encoded(jepa, batch, sample, part):
    """What the target encoder makes of a part of one clip."""
    patches, _, _ = batch.one(sample)
    return jepa.target.encoder(patches, pack(part))


NORMS = {
    "layer": lambda tokens: (
        (tokens - tokens.mean(1, keepdim=True))
        / (tokens.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    ),
    "standardise": lambda tokens: (
        (tokens - tokens.mean(1, keepdim=True)) / (tokens.var(1, keepdim=True) + 1e-6).sqrt()
    ),
    "none": lambda tokens: tokens,
}


@pytest.mark.parametrize("normalise", NORMS)
@pytest.mark.parametrize("layers", [1, 2, "all"])
@pytest.mark.parametrize("seen", ["full", "targets"])
def test_a_teacher_equals_its_layers_averaged_clip_by_clip(bench, seen, layers, normalise):
    teacher = Teacher(input=seen, layers=layers, normalise=normalise)
    encoder = ViT(dim=16, layers=3, heads=2)
    jepa, batch = bench.jepa(teacher, encoder=encoder), bench.batch()
    for sample, target in enumerate(told(jepa, batch)):
        _, mask, valid = batch.one(sample)
        part = mask.target_union if seen == "targets" else valid
        made = encoded(jepa, batch, sample, part)
        averaged = torch.stack(made.layers[{1: 2, 2: 1, "all": 0}[layers] :]).mean(dim=0)
        tokens = made.tokens if layers == 1 else averaged
        expected = NORMS[normalise](tokens[mask.target_union[part]])
        assert torch.allclose(target, expected, atol=1e-4)


@pytest.mark.parametrize("seen", ["full", "targets"])
def test_an_instance_is_normed_over_the_tokens_of_its_clip_layer_by_layer(bench, seen):
    batch = bench.batch()
    jepa = bench.jepa(Teacher(input=seen, layers="all", normalise="instance_then_layer"))
    for sample, target in enumerate(told(jepa, batch)):
        _, mask, valid = batch.one(sample)
        part = mask.target_union if seen == "targets" else valid
        made = encoded(jepa, batch, sample, part)
        layers = [F.instance_norm(layer.T.unsqueeze(0))[0].T for layer in made.layers]
        mean = torch.stack(layers).mean(dim=0)[mask.target_union[part]]
        assert torch.allclose(target, F.layer_norm(mean, mean.shape[-1:]), atol=1e-4)


def test_the_mean_of_a_clip_is_that_of_all_its_real_patches(bench):
    encoder = ViT(dim=16, layers=2, heads=2, summary=True)
    jepa, batch = bench.jepa(Teacher(), encoder=encoder), bench.batch()
    clips = jepa(batch.patches, batch.mask, batch.valid).goal.clips
    for sample in range(bench.clips):
        tokens = encoded(jepa, batch, sample, batch.one(sample)[2]).tokens
        assert torch.allclose(clips[sample], NORMS["layer"](tokens).mean(dim=0), atol=1e-5)


def test_a_teacher_of_targets_alone_is_not_told_what_the_context_holds(bench):
    jepa, batch = bench.jepa(Teacher(input="targets")), bench.batch()
    before = jepa(batch.patches, batch.mask, batch.valid).target
    hidden = torch.where(batch.mask.target_union.unsqueeze(-1), batch.patches, 1e6)
    assert torch.equal(before, jepa(hidden, batch.mask, batch.valid).target)


@pytest.mark.parametrize("normalise", [True, False])
def test_pixels_are_the_patches_each_normed_by_its_own_values(bench, normalise):
    jepa, batch = bench.jepa(Pixels(normalise=normalise)), bench.batch()
    for sample, target in enumerate(told(jepa, batch)):
        patches, mask, _ = batch.one(sample)
        for row, patch in zip(target, patches[mask.target_union], strict=True):
            expected = (patch - patch.mean()) / patch.std() if normalise else patch
            assert torch.allclose(row, expected, atol=1e-4)


def test_a_constant_patch_has_a_finite_target(bench):
    jepa, batch = bench.jepa(Pixels()), bench.batch()
    target = jepa(torch.zeros_like(batch.patches), batch.mask, batch.valid).target
    assert torch.equal(target, torch.zeros_like(target))


@pytest.mark.parametrize("of", ["patches", "features"])
def test_a_codebook_names_the_nearest_centre(bench, of):
    jepa, batch = bench.jepa(Codebook(clusters=4, of=of, points=50)), bench.batch()
    for sample, target in enumerate(told(jepa, batch)):
        patches, mask, valid = batch.one(sample)
        points = patches[valid]
        if of == "features":
            points = jepa.target.reader(patches, pack(valid)).tokens
        for row, point in zip(target, points[mask.target_union[valid]], strict=True):
            distances = [float((point - centre).norm()) for centre in jepa.target.centres]
            assert row.tolist() == [float(d == min(distances)) for d in distances]


def test_a_codebook_is_the_same_whenever_it_is_found_again(bench):
    one, other = (bench.jepa(Codebook(clusters=4, points=50)).target.centres for _ in range(2))
    assert torch.equal(one, other)


def test_clusters_are_as_near_under_autocast_as_without_it():
    points, centres = torch.randn(2000, 64, generator=generator(0, "points")).split([1500, 500])
    plain = nearest(points, centres)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(points, centres), plain)


def test_k_means_finds_clusters_that_lie_apart():
    rng = generator(0, "clusters")
    truth = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    points = truth.repeat_interleave(50, dim=0) + torch.randn(200, 2, generator=rng)
    found = [k_means(points, 4, generator(seed, "start")) for seed in range(10)]
    best = min(found, key=lambda centres: torch.cdist(points, centres).amin(dim=1).sum())
    assert torch.cdist(best, truth).amin(dim=0).max() < 0.5


def test_every_cluster_of_k_means_keeps_a_point():
    points = torch.randn(60, 3, generator=generator(0, "p")).repeat(3, 1)  # each point three times
    for seed in range(5):
        centres = k_means(points, 40, generator(seed, "start"))
        assert len(torch.cdist(points, centres).argmin(dim=1).unique()) > 35


def test_fewer_patches_than_clusters_are_refused():
    with pytest.raises(ValueError, match="5 patches cannot make 6 clusters"):
        k_means(torch.randn(5, 3), 6, generator(0, "start"))


@pytest.mark.parametrize(
    ("part", "settings"),
    [(Teacher, {"layers": 0}), (Codebook, {"clusters": 1}), (Codebook, {"points": 10})],
)
def test_impossible_settings_are_refused_with_their_name(part, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        part(**settings)


def test_a_target_without_an_encoder_leaves_the_context_encoder_to_be_probed(bench):
    jepa = bench.jepa(Pixels(), Joint(dim=8, layers=1, heads=2))
    assert jepa.probed is jepa.encoder
