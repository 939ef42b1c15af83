"""Targets, each compared with a slow computation clip by clip."""

import pytest
import torch
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.codebook import Codebook, k_means, nearest
from ablate.model.packing import pack
from ablate.model.predictor import Joint
from ablate.model.targets import Pixels, Teacher
from ablate.model.vit import ViT


def split_targets(jepa, batch):
    """Returns the targets of each sample."""
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    return torch.split(prediction.target, prediction.targets.segments.lengths)


def encode_part(jepa, batch, sample, part):
    """Encodes a part of one clip with the target encoder."""
    patches, _, _ = batch.select_sample(sample)
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
@pytest.mark.parametrize("target_input", ["full", "targets"])
def test_a_teacher_equals_its_layers_averaged_clip_by_clip(models, target_input, layers, normalise):
    teacher = Teacher(input=target_input, layers=layers, normalise=normalise)
    encoder = ViT(dim=16, layers=3, heads=2)
    jepa, batch = models.jepa(teacher, encoder=encoder), models.batch()
    for sample, target in enumerate(split_targets(jepa, batch)):
        _, mask, valid = batch.select_sample(sample)
        part = mask.target_union if target_input == "targets" else valid
        made = encode_part(jepa, batch, sample, part)
        averaged = torch.stack(made.layers[{1: 2, 2: 1, "all": 0}[layers] :]).mean(dim=0)
        tokens = made.tokens if layers == 1 else averaged
        expected = NORMS[normalise](tokens[mask.target_union[part]])
        assert torch.allclose(target, expected, atol=1e-4)


@pytest.mark.parametrize("target_input", ["full", "targets"])
def test_instance_norm_is_over_the_tokens_of_a_clip_layer_by_layer(models, target_input):
    batch = models.batch()
    jepa = models.jepa(Teacher(input=target_input, layers="all", normalise="instance_then_layer"))
    for sample, target in enumerate(split_targets(jepa, batch)):
        _, mask, valid = batch.select_sample(sample)
        part = mask.target_union if target_input == "targets" else valid
        made = encode_part(jepa, batch, sample, part)
        layers = [F.instance_norm(layer.T.unsqueeze(0))[0].T for layer in made.layers]
        mean = torch.stack(layers).mean(dim=0)[mask.target_union[part]]
        assert torch.allclose(target, F.layer_norm(mean, mean.shape[-1:]), atol=1e-4)


def test_the_mean_of_a_clip_is_over_all_its_valid_patches(models):
    encoder = ViT(dim=16, layers=2, heads=2, summary=True)
    jepa, batch = models.jepa(Teacher(), encoder=encoder), models.batch()
    clips = jepa(batch.patches, batch.mask, batch.valid).target_values.clip_means
    for sample in range(models.clips):
        tokens = encode_part(jepa, batch, sample, batch.select_sample(sample)[2]).tokens
        assert torch.allclose(clips[sample], NORMS["layer"](tokens).mean(dim=0), atol=1e-5)


def test_a_teacher_of_targets_does_not_depend_on_other_patches(models):
    jepa, batch = models.jepa(Teacher(input="targets")), models.batch()
    before = jepa(batch.patches, batch.mask, batch.valid).target
    hidden = torch.where(batch.mask.target_union.unsqueeze(-1), batch.patches, 1e6)
    assert torch.equal(before, jepa(hidden, batch.mask, batch.valid).target)


@pytest.mark.parametrize("normalise", [True, False])
def test_pixels_are_the_patches_normalised_one_by_one(models, normalise):
    jepa, batch = models.jepa(Pixels(normalise=normalise)), models.batch()
    for sample, target in enumerate(split_targets(jepa, batch)):
        patches, mask, _ = batch.select_sample(sample)
        for row, patch in zip(target, patches[mask.target_union], strict=True):
            expected = (patch - patch.mean()) / patch.std() if normalise else patch
            assert torch.allclose(row, expected, atol=1e-4)


def test_a_constant_patch_has_a_finite_target(models):
    jepa, batch = models.jepa(Pixels()), models.batch()
    target = jepa(torch.zeros_like(batch.patches), batch.mask, batch.valid).target
    assert torch.equal(target, torch.zeros_like(target))


@pytest.mark.parametrize("source", ["patches", "features"])
def test_a_codebook_target_is_the_nearest_centre(models, source):
    jepa, batch = models.jepa(Codebook(clusters=4, of=source, points=50)), models.batch()
    for sample, target in enumerate(split_targets(jepa, batch)):
        patches, mask, valid = batch.select_sample(sample)
        points = patches[valid]
        if source == "features":
            points = jepa.target.reader(patches, pack(valid)).tokens
        for row, point in zip(target, points[mask.target_union[valid]], strict=True):
            distances = [float((point - centre).norm()) for centre in jepa.target.centres]
            assert row.tolist() == [float(d == min(distances)) for d in distances]


def test_preparing_a_codebook_again_gives_the_same_centres(models):
    one, other = (models.jepa(Codebook(clusters=4, points=50)).target.centres for _ in range(2))
    assert torch.equal(one, other)


def test_the_nearest_centre_does_not_depend_on_autocast():
    points, centres = torch.randn(2000, 64, generator=generator(0, "points")).split([1500, 500])
    plain = nearest(points, centres)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(points, centres), plain)


def test_k_means_finds_separated_clusters():
    rng = generator(0, "clusters")
    truth = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    points = truth.repeat_interleave(50, dim=0) + torch.randn(200, 2, generator=rng)
    result = [k_means(points, 4, generator(seed, "start")) for seed in range(10)]
    best = min(result, key=lambda centres: torch.cdist(points, centres).amin(dim=1).sum())
    assert torch.cdist(best, truth).amin(dim=0).max() < 0.5


def test_k_means_leaves_few_clusters_empty():
    points = torch.randn(60, 3, generator=generator(0, "p")).repeat(3, 1)  # each point three times
    for seed in range(5):
        centres = k_means(points, 40, generator(seed, "start"))
        assert len(torch.cdist(points, centres).argmin(dim=1).unique()) > 35


def test_fewer_patches_than_clusters_are_rejected():
    with pytest.raises(ValueError, match="5 patches cannot make 6 clusters"):
        k_means(torch.randn(5, 3), 6, generator(0, "start"))


@pytest.mark.parametrize(
    ("part", "settings"),
    [(Teacher, {"layers": 0}), (Codebook, {"clusters": 1}), (Codebook, {"points": 10})],
)
def test_impossible_settings_are_rejected_with_their_name(part, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        part(**settings)


def test_with_a_target_without_encoder_the_context_encoder_is_probed(models):
    jepa = models.jepa(Pixels(), Joint(dim=8, layers=1, heads=2))
    assert jepa.probed_encoder is jepa.encoder
