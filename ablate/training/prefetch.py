"""Drawing ahead: the next step's clips and masks, while the device learns from this one's.

What a step sees depends on its number alone, so that drawing it early changes nothing.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from ablate.training.batches import Drawn

Draw = Callable[[int], Drawn]


@contextmanager
def drawing(draw: Draw, steps: int, *, early: bool, pinned: bool) -> Iterator[Draw]:
    """Gives a function that draws step after step, each ahead of its time if `early`.

    While step n of `steps` is taken, another thread then draws step n + 1. What drawing a step
    raises is raised when that step is asked for, and not before. With `pinned`, clips drawn early
    lie in page-locked memory, which a GPU copies from by itself.
    """
    if not early:
        yield draw
        return
    ahead = _Ahead(draw, steps, pinned=pinned)
    try:
        yield ahead
    finally:
        ahead.close()


class _Ahead:
    def __init__(self, draw: Draw, steps: int, *, pinned: bool) -> None:
        self._draw = draw
        self._steps = steps
        self._pinned = pinned
        self._thread = ThreadPoolExecutor(1)
        self._begun: tuple[int, Future[Drawn]] | None = None

    def __call__(self, step: int) -> Drawn:
        begun, self._begun = self._begun, None
        found = begun[1].result() if begun and begun[0] == step else self._drawn(step)
        if step + 1 < self._steps:
            self._begun = step + 1, self._thread.submit(self._drawn, step + 1)
        return found

    def _drawn(self, step: int) -> Drawn:
        drawn = self._draw(step)
        return drawn.pinned() if self._pinned else drawn

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
