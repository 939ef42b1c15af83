"""Schedules: a value for every step, the last of which is reached at the last real step."""

import math


def ramp(step: int, steps: int) -> float:
    """Returns the share of training done at `step`, counted from 0: 0 at first, 1 at the last.

    Of a single step it is 0.
    """
    return step / max(1, steps - 1)


def linear(start: float, end: float, share: float) -> float:
    """Moves from `start` to `end` as `share` goes from 0 to 1."""
    return start + (end - start) * share


def cosine(start: float, end: float, share: float) -> float:
    """Moves from `start` to `end` along half a cosine as `share` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def warm_cosine(peak: float, step: int, steps: int, warmup: float) -> float:
    """Rises linearly to `peak` over the first `warmup` share of the steps, then falls to 0.

    It falls along half a cosine. `step` counts from 0: the first already moves (peak / warm-up
    steps), and the last is 0, unless no step but one is left after the warm-up.
    """
    warm = min(round(warmup * steps), steps - 1)
    if step < warm:
        return peak * (step + 1) / warm
    return cosine(peak, 0.0, ramp(step - warm, steps - warm))
