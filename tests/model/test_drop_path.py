"""Drop path factors, keyed by the seed, the step and the layer."""

import pytest
import torch

from ablate.core.random import StepRandom
from ablate.model.drop_path import drop_path_factors
from ablate.model.segments import Segments
from ablate.model.vit import ViT

CPU = torch.device("cpu")


def draw_factors(
    rng: StepRandom, samples: int = 400, rate: float = 0.4, copies: int = 1
) -> torch.Tensor:
    segments = Segments((1,) * samples)
    result = drop_path_factors(rate, (5, 2), segments, CPU, rng=rng, copies=copies)
    assert result is not None
    return result.squeeze(-1)


def test_later_layers_drop_more_and_the_expectation_is_one():
    paths = draw_factors(StepRandom(seed=0, step=3), samples=4000)
    shares = (paths == 0).float().mean(dim=2)
    expected = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]).unsqueeze(1).expand(5, 2)
    assert torch.allclose(shares, expected, atol=0.03)
    assert torch.allclose(paths.mean(dim=2), torch.ones(5, 2), atol=0.06)


def test_all_tokens_of_a_sample_have_the_same_factors():
    result = drop_path_factors(
        0.5, (3, 2), Segments((2, 1, 4)), CPU, rng=StepRandom(seed=0, step=0)
    )
    assert result is not None
    for sample in result.squeeze(-1).split([2, 1, 4], dim=2):
        assert (sample == sample[..., :1]).all()


@pytest.mark.parametrize("copies", [1, 3])
def test_a_slice_of_a_batch_drops_the_same_branches_as_the_batch(copies):
    batch = draw_factors(StepRandom(seed=0, step=3), samples=20 * copies, copies=copies)
    part = draw_factors(StepRandom(seed=0, step=3, first=7), samples=4 * copies, copies=copies)
    assert torch.equal(part, batch[..., 7 * copies : 11 * copies])


def test_seeds_steps_layers_and_branches_drop_independently():
    first = draw_factors(StepRandom(seed=0, step=3))
    assert torch.equal(first, draw_factors(StepRandom(seed=0, step=3)))
    for other in (StepRandom(seed=1, step=3), StepRandom(seed=0, step=4)):
        assert not torch.equal(first == 0, draw_factors(other) == 0)
    assert not torch.equal(first[4, 0], first[4, 1])
    assert not torch.equal(first[4] == 0, first[3] == 0)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_its_range_is_rejected(rate):
    with pytest.raises(ValueError, match="`drop_path` must lie in"):
        ViT(drop_path=rate)
