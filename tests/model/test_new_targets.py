"""Targets of finished runs, of the context encoder itself, of codebooks, and losses on them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import maskers
from ablate.core.random import generator
from ablate.core.records.export import ExportedEncoder
from ablate.model.codebook import Codebook, k_means, nearest
from ablate.model.objectives import L1, L2, CrossEntropy
from ablate.model.online_target import Online
from ablate.model.packing import pack
from ablate.model.predictor import PerTarget
from ablate.model.pretrained import FrozenEncoders, Pretrained
from ablate.model.random_projection import RandomProjection
from ablate.model.regularisers import SIGReg, compute_epps_pulley
from ablate.model.targets import Teacher
from ablate.model.token_norms import standardise
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.parts import get_identity, resolve

VIT = ViT(dim=16, layers=2, heads=2)


def save_run(folder, models, seed):
    """Writes what a finished run keeps of an encoder; returns the encoder."""
    folder.mkdir()
    encoder = VIT.build(models.grid, models.pixels)
    initialise(encoder, seed, "encoder")
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    weights["normaliser.mean"] = torch.zeros(4)
    save_file(weights, folder / "encoder.safetensors")
    ExportedEncoder(
        run="x",
        weights="",
        mel={},
        patchifier={},
        encoder=resolve(VIT),
        crop_frames=8,
        version="0.2.0",
    ).write(folder / "encoder.json")
    return encoder


def test_frozen_encoders_give_their_features_next_to_each_other(models, tmp_path):
    saved = [save_run(tmp_path / name, models, seed) for seed, name in enumerate("ab", start=5)]
    target = FrozenEncoders(folders=(str(tmp_path / "a"), str(tmp_path / "b")))
    jepa, batch = models.jepa(target), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    rows = batch.mask.target_union[batch.valid]
    expected = [
        F.layer_norm(one(batch.patches, pack(batch.valid)).tokens[rows], (16,)) for one in saved
    ]
    assert torch.allclose(prediction.target, torch.cat(expected, dim=1), atol=1e-5)
    before = [p.clone() for p in jepa.target.parameters()]
    jepa.update_target(0.0)
    assert all(torch.equal(*pair) for pair in zip(before, jepa.target.parameters(), strict=True))
    assert not any(p.requires_grad for p in jepa.target.parameters())
    assert jepa.probed_encoder is jepa.encoder


def test_frozen_encoders_are_named_by_their_weights_and_not_by_their_folder(models, tmp_path):
    for name, seed in (("a", 1), ("copy", 1), ("other", 2)):
        save_run(tmp_path / name, models, seed)
    a, copy, other = (
        get_identity(FrozenEncoders(folders=(str(tmp_path / name),)))
        for name in ("a", "copy", "other")
    )
    assert a == copy != other


def test_weights_that_changed_since_the_plan_are_an_error(models, tmp_path):
    save_run(tmp_path / "a", models, 1)
    planned = FrozenEncoders(folders=(str(tmp_path / "a"),))
    (tmp_path / "b").mkdir()
    encoder = save_run(tmp_path / "c", models, 2)
    weights = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    save_file(weights | {"x": torch.zeros(3)}, tmp_path / "a" / "encoder.safetensors")
    with pytest.raises(ValueError, match="have changed since the trial was planned"):
        replace(planned)


def test_a_folder_without_a_trained_encoder_is_an_error(models, tmp_path):
    with pytest.raises(ValueError, match="has no trained encoder; give the folder"):
        models.jepa(FrozenEncoders(folders=(str(tmp_path),)))
    with pytest.raises(ValueError, match="has no trained encoder; give the folder"):
        Pretrained(folder=str(tmp_path)).build(models.grid, models.pixels)


def test_a_pretrained_encoder_starts_from_the_weights_of_the_run(models, tmp_path):
    saved = save_run(tmp_path / "a", models, 7)
    settings = Pretrained(folder=str(tmp_path / "a"))
    built = settings.build(models.grid, models.pixels)
    settings.initialise(built, seed=0)
    for one, other in zip(saved.parameters(), built.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (settings.layers, settings.hidden) == (2, "drop")


def test_an_online_target_is_the_context_encoder_and_passes_gradients(models):
    jepa, batch = models.jepa(Online()), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    rows = batch.mask.target_union[batch.valid]
    tokens = jepa.encoder(batch.patches, pack(batch.valid)).tokens[rows]
    assert torch.allclose(prediction.target, tokens, atol=1e-6)
    loss = prediction.target.square().sum()
    loss.backward()
    assert all(p.grad is not None for p in jepa.encoder.parameters())
    names = [name for name, _ in jepa.named_parameters()]
    assert len(names) == len(set(names))
    assert not any(name.startswith("target.") for name in names)


def test_a_random_projection_equals_its_definition(models):
    settings = RandomProjection(clusters=5, dim=3, codebooks=2)
    jepa, batch = models.jepa(settings), models.batch()
    target = jepa(batch.patches, batch.mask, batch.valid).target
    patches = batch.patches[batch.mask.target_union]
    for book in range(2):
        projected = standardise(patches) @ jepa.target.projections[book]
        angle = F.normalize(projected, dim=1) @ jepa.target.entries[book].T
        expected = F.one_hot(angle.argmax(dim=1), 5).float()
        assert torch.equal(target[:, 5 * book : 5 * book + 5], expected)
    again = models.jepa(settings)
    assert torch.equal(jepa.target.projections, again.target.projections)


def test_residual_codebooks_cluster_what_is_left_over(models):
    settings = Codebook(clusters=4, points=50, stages=2)
    jepa, batch = models.jepa(settings), models.batch()
    target = jepa(batch.patches, batch.mask, batch.valid).target
    points = batch.patches[batch.mask.target_union]
    first = nearest(points, jepa.target.centres)
    second = nearest(points - jepa.target.centres[first], jepa.target.centres_1)
    assert torch.equal(target, torch.cat([F.one_hot(n, 4).float() for n in (first, second)], 1))


def test_soft_clusters_are_posteriors_and_approach_the_nearest_cluster(models):
    batch = models.batch()
    soft, hard, sharp = (
        models.jepa(Codebook(clusters=4, points=50, softness=softness))(
            batch.patches, batch.mask, batch.valid
        ).target
        for softness in (1.0, 0.0, 1e-4)
    )
    assert soft.sum(dim=1) == pytest.approx(torch.ones(len(soft)), abs=1e-5)
    assert (soft > 0).all()
    assert torch.equal(soft.argmax(dim=1), hard.argmax(dim=1))
    assert torch.allclose(sharp, hard, atol=1e-2)


def test_one_stage_finds_the_clusters_of_version_0_1():
    points = torch.randn(60, 3, generator=generator(0, "p"))
    jepa_like = Codebook(clusters=4, points=60).build(None, None, 3)
    jepa_like.prepare(lambda number: (points.view(1, 60, 3), torch.ones(1, 60).bool()), 9)
    assert torch.equal(jepa_like.centres, k_means(points, 4, generator(9, "codebook")))


def test_cross_entropy_of_several_codebooks_is_the_sum_of_each():
    scores = torch.randn(7, 6, generator=generator(0, "s"))
    target = torch.cat([F.one_hot(torch.arange(7) % 3, 3), F.one_hot(torch.arange(7) % 2, 3)], 1)
    both = CrossEntropy(codebooks=2).distance(scores, target.float(), None)
    each = [
        CrossEntropy().distance(scores[:, part], target[:, part].float(), None)
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert torch.allclose(both, each[0] + each[1], atol=1e-6)


@pytest.mark.parametrize("layers", [2, (1, 2), (2, 1)])
def test_concatenated_layers_are_each_normalised(models, layers):
    batch = models.batch()
    jepa = models.jepa(Teacher(layers=layers, combine="concatenate", normalise="layer"))
    target = jepa(batch.patches, batch.mask, batch.valid).target
    outputs = jepa.target.encoder(batch.patches, pack(batch.valid)).layers
    rows = batch.mask.target_union[batch.valid]
    order = (1, 2) if layers == 2 else layers
    expected = [F.layer_norm(outputs[n - 1][rows], (16,)) for n in order]
    assert torch.allclose(target, torch.cat(expected, dim=1), atol=1e-5)


@pytest.mark.parametrize("predictor", [None, PerTarget(dim=8, layers=2, heads=2)])
@pytest.mark.parametrize("objective", [L1(visible=0.25), L2(visible=0.25, reduction="token")])
def test_visible_targets_count_with_their_weight(models, predictor, objective):
    masker = maskers.PredictVisible(masker=maskers.Random(ratio=0.5))
    jepa, batch = models.jepa(Teacher(), predictor), models.batch(masker)
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    full, hidden = (prediction.loss(replace(objective, visible=weight)) for weight in (1.0, 0.0))
    quarter = prediction.loss(objective)
    assert quarter.item() == pytest.approx(hidden.item() + 0.25 * (full - hidden).item(), rel=1e-5)
    assert hidden < full


def test_the_epps_pulley_statistic_equals_its_integral():
    values = torch.randn(200, 1, generator=generator(0, "v")) * 1.3 + 0.2
    t = torch.linspace(-3, 3, 20_001)
    phi = torch.exp(1j * values * t).mean(dim=0)
    gap = (phi - torch.exp(-t.square() / 2)).abs().square() * torch.exp(-t.square() / 2)
    expected = 200 * torch.trapezoid(gap, t)
    assert compute_epps_pulley(values, 400) == pytest.approx(expected.item(), rel=1e-3)


def test_the_epps_pulley_statistic_is_least_for_a_standard_gaussian():
    normal = torch.randn(2000, 4, generator=generator(0, "n"))
    others = [2 * normal, normal + 1, 0.1 * normal, normal.sign()]
    least = compute_epps_pulley(normal, 17)
    assert all(compute_epps_pulley(other, 17) > 10 * least for other in others)


@pytest.mark.parametrize("tensor", ["context", "tokens", "predicted"])
def test_sigreg_spreads_collapsed_features(models, tensor):
    jepa, batch = models.jepa(Online()), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    penalty = SIGReg(of=tensor).penalty(prediction)
    penalty.backward()
    assert penalty.isfinite()
    assert penalty > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in jepa.parameters())
