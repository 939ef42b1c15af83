"""Prefetching: threads draw the next steps' clips and masks while the device trains.

A step's batch depends only on its number, so drawing it early, or in another thread, does not
change it.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from ablate.training.batches import MaskedBatch

DrawBatch = Callable[[int], MaskedBatch]

MAX_THREADS = 4


def count_threads() -> int:
    """Returns how many threads draw batches: one per core that this process may use, at most 4."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MAX_THREADS, available or 1)


@contextmanager
def prefetch(
    draw: DrawBatch, steps: int, *, enabled: bool, pin: bool, threads: int | None = None
) -> Iterator[DrawBatch]:
    """Yields a function that returns the batch of a step, drawn in advance if `enabled`.

    Args:
        draw: Draws the batch of a step. It is called from several threads.
        steps: Number of steps; no later step is drawn.
        enabled: Whether other threads draw the steps after the one that trains, one step per
            thread. An error in drawing a step is raised when that step is requested, not earlier.
        pin: Whether prefetched clips go to page-locked memory, for asynchronous copies to a GPU.
        threads: Number of threads; by default `count_threads()`.
    """
    if not enabled:
        yield draw
        return
    prefetcher = _Prefetcher(draw, steps, pin=pin, threads=threads or count_threads())
    try:
        yield prefetcher
    finally:
        prefetcher.close()


class _Prefetcher:
    def __init__(self, draw: DrawBatch, steps: int, *, pin: bool, threads: int) -> None:
        self._draw = draw
        self._steps = steps
        self._pin = pin
        self._num_ahead = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
        self._pending: dict[int, Future[MaskedBatch]] = {}

    def __call__(self, step: int) -> MaskedBatch:
        wanted = range(step, min(step + 1 + self._num_ahead, self._steps))
        self._pending = {
            later: self._pending.get(later) or self._pool.submit(self._draw_pinned, later)
            for later in wanted
        }
        return self._pending.pop(step).result()

    def _draw_pinned(self, step: int) -> MaskedBatch:
        batch = self._draw(step)
        return batch.pin_memory() if self._pin else batch

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
