"""Objectives, each compared with a slow reference, and their reductions."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.codebook import Codebook
from ablate.model.masking import Mask
from ablate.model.objectives import L1, L2, Cosine, CrossEntropy, InfoNCE, SmoothL1
from ablate.model.predictor import Joint, PerTarget
from ablate.model.regularisers import VarianceCovariance
from ablate.model.targets import Teacher
from ablate.model.vit import ViT
from tests.model.conftest import ModelFactory

POINTWISE = {
    L1(): lambda p, t: sum(abs(a - b) for a, b in zip(p, t, strict=True)) / len(p),
    L2(): lambda p, t: sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) / len(p),
    SmoothL1(beta=0.5): lambda p, t: (
        sum(
            (a - b) ** 2 if abs(a - b) < 0.5 else abs(a - b) - 0.25
            for a, b in zip(p, t, strict=True)
        )
        / len(p)
    ),
    Cosine(): lambda p, t: (
        2 - 2 * sum(a * b for a, b in zip(p, t, strict=True)) / math.hypot(*p) / math.hypot(*t)
    ),
}
WIDTH = {"dim": 8, "layers": 2, "heads": 2}
PREDICTORS = {"joint": Joint(**WIDTH), "per target": PerTarget(**WIDTH)}


@pytest.mark.parametrize("objective", POINTWISE, ids=lambda o: type(o).__name__)
def test_a_distance_equals_its_formula(models, objective):
    batch = models.batch()
    prediction = models.jepa()(batch.patches, batch.mask, batch.valid)
    result = objective.distance(prediction.predicted, prediction.target, prediction.query)
    rows = zip(prediction.predicted.tolist(), prediction.target.tolist(), strict=True)
    assert result.tolist() == pytest.approx([POINTWISE[objective](p, t) for p, t in rows], rel=1e-4)


def test_cross_entropy_equals_that_of_torch_for_the_cluster_index(models):
    jepa, batch = models.jepa(Codebook(clusters=4, points=50)), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    result = CrossEntropy().distance(prediction.predicted, prediction.target, prediction.query)
    names = prediction.target.argmax(dim=1)
    expected = F.cross_entropy(prediction.predicted, names, reduction="none")
    assert torch.allclose(result, expected, atol=1e-6)


def test_the_mean_prediction_of_a_cluster_is_its_frequency():
    shares = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    assert torch.allclose(
        CrossEntropy().predict_from_mean(shares).softmax(dim=1), shares, atol=1e-5
    )


def test_a_contrastive_loss_equals_the_loop_over_targets_and_their_distractors(models):
    objective = InfoNCE(distractors=7, temperature=0.2)
    jepa, batch = models.jepa(), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    result = objective.distance(prediction.predicted, prediction.target, prediction.query)
    table = torch.rand((models.grid.size, 7), generator=generator(0, "distractors", 0))
    expected, first = [], 0
    places = prediction.targets.place.tolist()
    for length in prediction.targets.segments.lengths:
        for row in range(first, first + length):
            others = [other for other in range(first, first + length) if other != row]
            drawn = [others[int(u * len(others))] for u in table[places[row]]]
            scores = [
                F.cosine_similarity(prediction.predicted[row], prediction.target[i], dim=0) / 0.2
                for i in [row, *drawn]
            ]
            expected.append(-F.log_softmax(torch.stack(scores), dim=0)[0])
        first += length
    assert torch.allclose(result, torch.stack(expected), atol=1e-5)


def test_distractors_change_from_step_to_step(models):
    jepa, batch = models.jepa(), models.batch()
    one, again, other = (
        jepa(batch.patches, batch.mask, batch.valid, rng=StepRandom(0, step)).loss(InfoNCE())
        for step in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_sample_with_one_target_has_no_contrastive_loss(models):
    batch = models.batch()
    one = torch.zeros_like(batch.mask.targets)
    one[:, 0] = F.one_hot(batch.mask.target_union.byte().argmax(dim=1), models.grid.size).bool()
    loss = models.jepa()(batch.patches, Mask(batch.mask.context, one), batch.valid).loss(InfoNCE())
    assert loss == 0


@pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)
@pytest.mark.parametrize("reduction", ["sample", "token", "target"])
def test_a_reduction_equals_its_loop(models, predictor, reduction):
    jepa, batch = models.jepa(predictor=predictor), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    query, distances = prediction.query, {}  # (sample, patch) -> block -> distance
    queries = query.blocks if query.by_block else query.targets
    rows = query.block_rows if query.by_block else torch.arange(queries.segments.num_tokens)
    apart = (prediction.predicted - prediction.target[rows]).square().mean(dim=1)
    blocks = batch.mask.targets.any(dim=-1).nonzero().tolist()
    if query.by_block:
        owners = [
            pair for pair, n in zip(blocks, queries.segments.lengths, strict=True) for _ in range(n)
        ]
    else:
        owners = [(sample, None) for sample in queries.owner.tolist()]
    for (sample, block), patch, distance in zip(owners, queries.place.tolist(), apart, strict=True):
        distances.setdefault((sample, patch), {})[block] = distance

    def get_distance(sample, block, patch):
        return distances[sample, patch].get(block, distances[sample, patch].get(None))

    means = {key: torch.stack(list(result.values())).mean() for key, result in distances.items()}
    if reduction == "token":
        parts = list(means.values())
    elif reduction == "sample":
        parts = [
            torch.stack([d for (owner, _), d in means.items() if owner == sample]).mean()
            for sample in range(models.clips)
        ]
    else:
        parts = [
            torch.stack(
                [get_distance(s, b, p) for p in batch.mask.targets[s, b].nonzero()[:, 0].tolist()]
            ).mean()
            for s, b in blocks
        ]
    assert torch.allclose(prediction.loss(L2(reduction=reduction)), torch.stack(parts).mean())


@given(
    reduction=st.sampled_from(["sample", "token", "target"]),
    predictor=st.sampled_from(sorted(PREDICTORS)),
    objective=st.sampled_from([L2, InfoNCE]),
    cuts=st.sets(st.integers(1, 4)),
    copies=st.integers(1, 2),
    step=st.integers(0, 50),
)
def test_the_loss_of_a_batch_is_the_unit_weighted_mean_of_its_slices(
    reduction, predictor, objective, cuts, copies, step
):
    models = ModelFactory()
    if objective is InfoNCE:
        predictor = "joint"
    masker = maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=copies)
    batch, jepa = models.batch(masker), models.jepa(predictor=PREDICTORS[predictor])
    objective = objective(reduction=reduction)
    full = jepa(batch.patches, batch.mask, batch.valid, rng=StepRandom(0, step))
    total = 0.0
    bounds = [0, *sorted(cuts), models.clips]
    for first, last in pairwise(bounds):
        rows = slice(first * copies, last * copies)
        mask = Mask(batch.mask.context[rows], batch.mask.targets[rows])
        clips = slice(first, last)
        rng = StepRandom(0, step, first)
        part = jepa(batch.patches[clips], mask, batch.valid[clips], rng=rng)
        total += part.loss(objective) * objective.num_units(mask) / objective.num_units(batch.mask)
    assert torch.allclose(full.loss(objective), total, atol=1e-5)


def test_the_utterance_loss_compares_each_summary_with_the_mean_of_its_clips_targets(models):
    encoder = ViT(dim=16, layers=2, heads=2, summary=True)
    jepa = models.jepa(Teacher(layers="all", normalise="instance_then_layer"), encoder=encoder)
    masker = maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=2)
    batch = models.batch(masker)
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    summaries = prediction.visible.encoded.summary
    apart = [
        (summary - prediction.target_values.clip_means[sample]).square().mean()
        for sample, summary in enumerate(summaries)
    ]
    result = prediction.utterance_loss(L2(utterance=0.5))
    assert torch.allclose(result, 0.5 * torch.stack(apart).mean(), atol=1e-6)
    assert torch.equal(
        prediction.target_values.clip_means[0], prediction.target_values.clip_means[1]
    )
    assert prediction.utterance_loss(L2()) == 0


@pytest.mark.parametrize("source", ["context", "predicted"])
def test_a_variance_covariance_penalty_equals_its_loops(models, source):
    jepa, batch = models.jepa(), models.batch()
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    features = prediction.predicted.detach()
    if source == "context":
        parts = torch.split(
            prediction.context_features.detach(), prediction.context.segments.lengths
        )
        features = torch.stack([part.mean(dim=0) for part in parts])
    columns = features.T
    low = [max(0.0, 2 - float((column.var() + 1e-4).sqrt())) for column in columns]
    off = [
        float((one - one.mean()) @ (other - other.mean()) / (len(one) - 1)) ** 2
        for i, one in enumerate(columns)
        for j, other in enumerate(columns)
        if i != j
    ]
    expected = 3 * sum(low) / len(columns) + 0.5 * sum(off) / len(columns)
    penalty = VarianceCovariance(of=source, variance=3, covariance=0.5, deviation=2)
    assert penalty.penalty(prediction).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (InfoNCE, {"distractors": 0}),
        (InfoNCE, {"temperature": 0.0}),
        (VarianceCovariance, {"variance": -1.0}),
        (L2, {"utterance": -1.0}),
        (SmoothL1, {"utterance": -1.0}),
    ],
)
def test_impossible_settings_are_rejected_with_their_name(part, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        part(**settings)
