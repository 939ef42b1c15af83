"""The training state: target updates, the codebook, resuming, and the regulariser."""

import pytest
import torch

from ablate.model.codebook import Codebook
from ablate.model.objectives import CrossEntropy
from ablate.model.regularisers import VarianceCovariance
from ablate.training.optimizer import Optimizer


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("follow", ["after", "before"])
def test_the_target_encoder_is_updated_before_or_after_the_optimiser_step(new_trainer, follow):
    trainer = new_trainer(optimizer=Optimizer(momentum=(0.5, 0.5), follow=follow))
    state, jepa = trainer.create_state(), trainer.jepa
    for step in range(2):
        target, before = weights(jepa.probed_encoder), weights(jepa.encoder)
        trainer.step(state, trainer.drawer.draw(step))
        source = before if follow == "before" else weights(jepa.encoder)
        assert torch.allclose(weights(jepa.probed_encoder), 0.5 * target + 0.5 * source, atol=1e-6)
        assert not torch.equal(before, weights(jepa.encoder))


def test_a_codebook_is_computed_once_and_kept_on_resuming(new_trainer):
    parts = {"target": Codebook(clusters=4, points=100), "objective": CrossEntropy()}
    trainer = new_trainer(**parts)
    state = trainer.create_state()
    centres = trainer.jepa.target.centres.clone()
    assert len(centres.unique(dim=0)) == 4
    trainer.step(state, trainer.drawer.draw(0))
    resumed = new_trainer(**parts)
    resumed.create_state(state.state_dict())
    assert torch.equal(resumed.jepa.target.centres, centres)


def test_restoring_a_state_empties_the_saved_one(new_trainer):
    trainer = new_trainer()
    state = trainer.create_state()
    trainer.step(state, trainer.drawer.draw(0))
    saved = state.state_dict()
    assert new_trainer().create_state(saved).cost.steps == 1
    assert saved == {}


def test_a_regulariser_changes_the_weights_and_not_the_reported_loss(new_trainer):
    losses, trained = [], []
    for regulariser in (None, VarianceCovariance()):
        trainer = new_trainer(regulariser=regulariser)
        state = trainer.create_state()
        trainer.step(state, trainer.drawer.draw(0))
        losses.append(state.window.state_dict()["steps"][0][0])
        trained.append(weights(trainer.jepa.encoder))
    assert torch.equal(*losses)
    assert not torch.equal(*trained)
