"""Prefetching: draws the next step's clips and masks in a thread while the device trains.

A step's batch depends only on its number, so drawing it early does not change it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from ablate.training.batches import MaskedBatch

DrawBatch = Callable[[int], MaskedBatch]


@contextmanager
def prefetch(draw: DrawBatch, steps: int, *, enabled: bool, pin: bool) -> Iterator[DrawBatch]:
    """Yields a function that returns the batch of a step, drawn in advance if `enabled`.

    Args:
        draw: Draws the batch of a step.
        steps: Number of steps; no later step is drawn.
        enabled: Whether another thread draws step n + 1 while step n trains. An error in drawing a
            step is raised when that step is requested, not earlier.
        pin: Whether prefetched clips go to page-locked memory, for asynchronous copies to a GPU.
    """
    if not enabled:
        yield draw
        return
    prefetcher = _Prefetcher(draw, steps, pin=pin)
    try:
        yield prefetcher
    finally:
        prefetcher.close()


class _Prefetcher:
    def __init__(self, draw: DrawBatch, steps: int, *, pin: bool) -> None:
        self._draw = draw
        self._steps = steps
        self._pin = pin
        self._thread = ThreadPoolExecutor(1)
        self._pending: tuple[int, Future[MaskedBatch]] | None = None

    def __call__(self, step: int) -> MaskedBatch:
        pending, self._pending = self._pending, None
        is_ready = pending is not None and pending[0] == step
        batch = pending[1].result() if pending and is_ready else self._draw_pinned(step)
        if step + 1 < self._steps:
            self._pending = step + 1, self._thread.submit(self._draw_pinned, step + 1)
        return batch

    def _draw_pinned(self, step: int) -> MaskedBatch:
        batch = self._draw(step)
        return batch.pin_memory() if self._pin else batch

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
