"""Drawing a step early changes nothing but when it is done."""

import threading

import pytest
import torch

import maskers
from ablate.training.online_probe import Online
from ablate.training.optimizer import Budget
from ablate.training.prefetch import drawing


@pytest.mark.parametrize(
    "masker",
    [
        maskers.MultiBlock(),
        maskers.Curriculum(start=maskers.MultiBlock(), end=maskers.Random()),
        maskers.Dispersion(),
        maskers.Informed(),
    ],
    ids=lambda masker: type(masker).__name__,
)
def test_what_is_drawn_ahead_trains_the_same_bits(new_trainer, masker):
    found = []
    for ahead in (False, True):
        trainer = new_trainer(masker=masker, ahead=ahead)
        outcome = trainer.train()
        found.append((trainer.jepa.state_dict(), outcome.cost.context_tokens))
    (one, tokens), (other, same) = found
    assert tokens == same
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_step_but_the_first_is_drawn_by_another_thread():
    drawn = []

    def draw(step):
        drawn.append((step, threading.current_thread() is threading.main_thread()))
        return step

    with drawing(draw, 4, early=True, pinned=False) as early:
        assert [early(step) for step in (1, 2, 3)] == [1, 2, 3]
    assert drawn == [(1, True), (2, False), (3, False)]


def test_what_cannot_be_drawn_ends_a_training_at_its_own_step(new_trainer):
    each = Online(every=1, asked=1, examine=lambda encoder: {"speech": 50.0})
    trainer = new_trainer(ahead=True, online=each, budget=Budget(steps=9, batch=5))
    batch, taken = trainer.loader.batch, []

    def vanishing(step, size):
        if step == 6:
            raise FileNotFoundError("clip30.wav")
        return batch(step, size)

    trainer.loader.batch = vanishing
    with pytest.raises(FileNotFoundError, match="clip30"):
        trainer.train(on_log=lambda log, standing: taken.append(standing.step))
    assert taken == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.gpu
def test_a_step_never_waits_for_the_device(new_trainer):
    device = torch.device("cuda")
    trainer = new_trainer(device=device, ahead=True)
    trainer.jepa.to(device)
    progress = trainer.begin()
    with trainer.drawing() as draw:
        trainer.step(progress, draw(0))  # with what is only done at first
        torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.step(progress, draw(1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
