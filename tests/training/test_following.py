"""When the target encoder follows, what is known before the first step, and what is added."""

import pytest
import torch

from ablate.model.codebook import Codebook
from ablate.model.objectives import CrossEntropy
from ablate.model.regularisers import VarianceCovariance
from ablate.training.optimizer import Optimizer


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("follow", ["after", "before"])
def test_the_target_encoder_follows_the_weights_of_after_the_step_or_of_before(new_trainer, follow):
    training = new_trainer(optimizer=Optimizer(momentum=(0.5, 0.5), follow=follow))
    progress, jepa = training.begin(), training.jepa
    for step in range(2):
        target, before = weights(jepa.probed), weights(jepa.encoder)
        training.step(progress, training.draw(step))
        followed = before if follow == "before" else weights(jepa.encoder)
        assert torch.allclose(weights(jepa.probed), 0.5 * target + 0.5 * followed, atol=1e-6)
        assert not torch.equal(before, weights(jepa.encoder))


def test_a_codebook_is_found_once_and_then_kept(new_trainer):
    made = {"target": Codebook(clusters=4, points=100), "objective": CrossEntropy()}
    training = new_trainer(**made)
    progress = training.begin()
    centres = training.jepa.target.centres.clone()
    assert len(centres.unique(dim=0)) == 4
    training.step(progress, training.draw(0))
    again = new_trainer(**made)
    again.begin(progress.state())
    assert torch.equal(again.jepa.target.centres, centres)


def test_a_state_that_is_taken_up_is_not_held_twice(new_trainer):
    training = new_trainer()
    progress = training.begin()
    training.step(progress, training.draw(0))
    saved = progress.state()
    assert new_trainer().begin(saved).cost.steps == 1
    assert saved == {}


def test_a_regulariser_changes_what_is_learned_and_not_what_is_reported(new_trainer):
    losses, learned = [], []
    for regulariser in (None, VarianceCovariance()):
        training = new_trainer(regulariser=regulariser)
        progress = training.begin()
        training.step(progress, training.draw(0))
        losses.append(progress.window.state()["steps"][0][0])
        learned.append(weights(training.jepa.encoder))
    assert torch.equal(*losses)
    assert not torch.equal(*learned)
