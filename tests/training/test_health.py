"""Effective rank, the criterion of collapse, and the position baseline."""

import math

import pytest
import torch
from torch import Tensor

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.context_encoding import VisibleTokens
from ablate.model.encoder import Encoded
from ablate.model.masking import Clips, Grid, Mask
from ablate.model.objectives import L2
from ablate.model.prediction import Prediction
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import TargetValues
from ablate.training.health import Health, PositionBaseline, effective_rank
from ablate.training.lidar import compute_gap, compute_lidar

NOISE = torch.randn(4000, 16, generator=generator(0, "noise"))


def test_the_effective_rank_of_noise_is_its_dimension():
    assert effective_rank(NOISE) == pytest.approx(16, rel=0.01)


def test_the_effective_rank_agrees_with_singular_values():
    features = NOISE[:50] @ torch.diag(torch.linspace(0.1, 2, 16))
    values = torch.linalg.svdvals(features - features.mean(dim=0))
    shares = values / values.sum()
    assert effective_rank(features) == pytest.approx(float((-shares * shares.log()).sum().exp()))


def test_the_effective_rank_of_bfloat16_features_is_computed_in_float32():
    features = (100 + NOISE).bfloat16()
    assert effective_rank(features) == effective_rank(features.float())


def test_the_effective_rank_of_a_line_is_one():
    assert effective_rank(NOISE[:, :1] @ NOISE[:1]) == pytest.approx(1, abs=0.01)


def test_equal_tokens_have_rank_zero():
    assert effective_rank(torch.ones(10, 16)) == 0


def test_losing_half_of_the_rank_is_a_collapse_even_if_the_deviation_grew():
    assert Health(4.9, 2.0).has_collapsed(start=Health(10.0, 0.5))
    assert not Health(5.1, 0.1).has_collapsed(start=Health(10.0, 0.5))


def test_lidar_counts_the_directions_in_which_clips_differ():
    owner = torch.arange(40).repeat_interleave(25)
    noise = torch.randn(1000, 16, generator=generator(0, "within"))
    centres = torch.randn(40, 16, generator=generator(0, "clips"))
    assert compute_lidar(noise + 9 * centres[owner], owner, 40) > 12
    few = centres.clone()
    few[:, 3:] = 0  # clips differ along three axes only
    assert 2 < compute_lidar(noise + 9 * few[owner], owner, 40) < 4
    within = noise - torch.stack([noise[owner == clip].mean(dim=0) for clip in range(40)])[owner]
    assert compute_lidar(within, owner, 40) == 0  # clips are alike
    assert math.isnan(compute_lidar(noise / 0, owner, 40))


def test_lidar_agrees_with_the_formula_of_its_paper():
    owner = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    features = torch.randn(9, 4, generator=generator(0, "lidar")).double()
    means = torch.stack([features[owner == clip].mean(dim=0) for clip in range(3)])
    within = (features - means[owner]).T @ (features - means[owner]) / 9 + 1e-4 * torch.eye(4)
    between = (means - means.mean(dim=0)).T @ (means - means.mean(dim=0)) / 3
    values, vectors = torch.linalg.eigh(within)
    root = vectors @ torch.diag(values**-0.5) @ vectors.T
    shares = torch.linalg.eigvalsh(root @ between @ root).clamp(min=1e-300)
    shares = shares / shares.sum()
    expected = float((-shares * shares.log()).sum().exp())
    assert compute_lidar(features, owner, 3) == pytest.approx(expected)


def test_the_gap_between_encoders_is_a_share_of_the_length_of_features():
    assert compute_gap(NOISE, NOISE) == 0
    assert compute_gap(1.1 * NOISE, NOISE) == pytest.approx(0.1, rel=1e-4)


def build_prediction(mask: Mask, values: Tensor, grid: Grid) -> Prediction:
    """Builds a prediction whose target depends only on the position of each patch."""
    valid = torch.ones(len(mask.context), grid.size, dtype=torch.bool)
    query = PredictionQuery(
        mask=mask, valid=valid, device=torch.device("cpu"), rng=StepRandom(0, 0)
    )
    target = values[query.targets.place]
    encoded = Encoded(tokens=target, layers=())
    visible = VisibleTokens(
        encoded=encoded, packing=query.context, query=query, includes_hidden=False
    )
    return Prediction(
        query=query, predicted=target, target_values=TargetValues(target), visible=visible
    )


def test_the_baseline_learns_targets_that_depend_only_on_their_position():
    grid = Grid(2, 4)
    baseline = PositionBaseline(grid.size, 3, torch.device("cpu"))
    values = torch.randn(grid.size, 3, generator=generator(0, "positions"))
    for step in range(30):
        mask = maskers.Random().draw(Clips.unpadded(grid, 8), generator(0, step))
        prediction = build_prediction(mask, values, grid)
        last = baseline.loss(prediction, L2())
        baseline.accumulate(prediction)
        baseline.update()
    assert last < 1e-6
