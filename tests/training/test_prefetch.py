"""Prefetching changes when a batch is drawn, and nothing else."""

import threading

import pytest
import torch

import maskers
from ablate.training.online_probe import OnlineProbe
from ablate.training.optimizer import Budget
from ablate.training.prefetch import prefetch


@pytest.mark.parametrize(
    "masker",
    [
        maskers.MultiBlock(),
        maskers.Curriculum(start=maskers.MultiBlock(), end=maskers.Random()),
        maskers.VarianceWeighted(),
        maskers.Informed(),
        maskers.AttentionGuided(),
        maskers.LossWeighted(),
    ],
    ids=lambda masker: type(masker).__name__,
)
def test_prefetching_trains_the_same_weights_bit_for_bit(new_trainer, masker):
    results = []
    for enabled in (False, True):
        trainer = new_trainer(masker=masker, prefetch=enabled)
        result = trainer.train()
        results.append((trainer.jepa.state_dict(), result.cost.context_tokens))
    (first, first_tokens), (second, second_tokens) = results
    assert first_tokens == second_tokens
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_draw_each_step_once_and_none_after_the_last(threads):
    drawn = []

    def draw(step):
        drawn.append((step, threading.current_thread() is threading.main_thread()))
        return step

    with prefetch(draw, 6, enabled=True, pin=False, threads=threads) as prefetched:
        assert [prefetched(step) for step in (1, 2, 3, 4, 5)] == [1, 2, 3, 4, 5]
    assert sorted(drawn) == [(step, False) for step in (1, 2, 3, 4, 5)]


def test_each_thread_draws_a_step_at_the_same_time():
    together = threading.Barrier(4)  # broken, and so an error, unless four threads wait at once

    def draw(step):
        together.wait(timeout=30)
        return step

    with prefetch(draw, 4, enabled=True, pin=False, threads=4) as prefetched:
        assert [prefetched(step) for step in range(4)] == [0, 1, 2, 3]


def test_an_error_in_drawing_a_step_is_raised_at_that_step(new_trainer):
    probe = OnlineProbe(every=1, num_clips=1, evaluate=lambda encoder: {"speech": 50.0})
    trainer = new_trainer(prefetch=True, online_probe=probe, budget=Budget(steps=9, batch=5))
    load_batch, steps = trainer.drawer.loader.batch, []

    def fail_at_step_6(step, size):
        if step == 6:
            raise FileNotFoundError("clip30.wav")
        return load_batch(step, size)

    trainer.drawer.loader.batch = fail_at_step_6
    with pytest.raises(FileNotFoundError, match="clip30"):
        trainer.train(on_metrics=lambda metrics, result: steps.append(result.step))
    assert steps == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.gpu
def test_a_step_never_waits_for_the_device(new_trainer):
    device = torch.device("cuda")
    trainer = new_trainer(device=device, prefetch=True)
    trainer.jepa.to(device)
    state = trainer.create_state()
    with trainer.drawer.drawing() as draw:
        trainer.step(state, draw(0))  # includes one-time initialisation
        torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.step(state, draw(1))
        finally:
            torch.cuda.set_sync_debug_mode("default")
