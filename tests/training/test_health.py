"""What tells a healthy run from a collapsed one."""

import pytest
import torch
from torch import Tensor

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.context_encoding import Shown
from ablate.model.encoder import Encoded
from ablate.model.masking import Grid, Mask
from ablate.model.objectives import L2
from ablate.model.prediction import Prediction
from ablate.model.prediction_query import Question
from ablate.model.targets import Goal
from ablate.training.health import Health, PositionGuess, effective_rank

NOISE = torch.randn(4000, 16, generator=generator(0, "noise"))


def test_the_effective_rank_of_noise_is_its_width():
    assert effective_rank(NOISE) == pytest.approx(16, rel=0.01)


def test_the_effective_rank_agrees_with_singular_values():
    features = NOISE[:50] @ torch.diag(torch.linspace(0.1, 2, 16))
    values = torch.linalg.svdvals(features - features.mean(dim=0))
    shares = values / values.sum()
    assert effective_rank(features) == pytest.approx(float((-shares * shares.log()).sum().exp()))


def test_the_effective_rank_of_features_far_from_zero_does_not_need_their_precision():
    features = (100 + NOISE).bfloat16()
    assert effective_rank(features) == effective_rank(features.float())


def test_the_effective_rank_of_a_line_is_one():
    assert effective_rank(NOISE[:, :1] @ NOISE[:1]) == pytest.approx(1, abs=0.01)


def test_equal_tokens_have_no_rank():
    assert effective_rank(torch.ones(10, 16)) == 0


def test_half_of_the_rank_lost_is_a_collapse_though_the_deviation_grew():
    assert Health(4.9, 2.0).collapsed(start=Health(10.0, 0.5))
    assert not Health(5.1, 0.1).collapsed(start=Health(10.0, 0.5))


def predicted(mask: Mask, values: Tensor, grid: Grid) -> Prediction:
    """A prediction whose target is the value of each patch's position."""
    valid = torch.ones(len(mask.context), grid.size, dtype=torch.bool)
    question = Question(mask=mask, valid=valid, device=torch.device("cpu"), rng=StepRandom(0, 0))
    target = values[question.targets.place]
    encoded = Encoded(tokens=target, layers=())
    shown = Shown(encoded=encoded, packing=question.context, question=question, replaced=False)
    return Prediction(question=question, predicted=target, goal=Goal(target), shown=shown)


def test_targets_that_only_depend_on_their_position_are_guessed_without_context():
    grid = Grid(2, 4)
    guess = PositionGuess(grid.size, 3, torch.device("cpu"))
    values = torch.randn(grid.size, 3, generator=generator(0, "positions"))
    for step in range(30):
        mask = maskers.Random()(grid, 8, generator=generator(0, step))
        prediction = predicted(mask, values, grid)
        last = guess.loss(prediction, L2())
        guess.hear(prediction)
        guess.learn()
    assert last < 1e-6
