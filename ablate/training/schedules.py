"""Schedules: values per step that reach their end at the last step."""

import math
from collections.abc import Callable

Interpolation = Callable[[float, float, float], float]  # (start, end, share) to a value


def ramp(step: int, steps: int) -> float:
    """Computes the progress at `step`, counted from 0: 0 at the first step, 1 at the last.

    It is 0 for a single step.
    """
    return step / max(1, steps - 1)


def linear(start: float, end: float, share: float) -> float:
    """Interpolates from `start` to `end` as `share` goes from 0 to 1."""
    return start + (end - start) * share


def cosine(start: float, end: float, share: float) -> float:
    """Moves from `start` to `end` along half a cosine as `share` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def constant(start: float, end: float, share: float) -> float:
    """Returns `start`, whatever `share` is."""
    return start


def warm_decay(
    peak: float,
    step: int,
    steps: int,
    warmup: float,
    *,
    start: float = 0.0,
    end: float = 0.0,
    decay: Interpolation = cosine,
    horizon: float = 1.0,
) -> float:
    """Computes a rate with a linear warm-up from `start` to `peak` and a decay to `end`.

    Args:
        peak: The highest rate.
        step: Current step, counted from 0. At step 0 the warm-up has made its first step.
        steps: Number of steps. At the last one the rate is `end`, unless it directly follows
            warm-up or `horizon` is above 1.
        warmup: Share of the steps, in [0, 1].
        start: The rate from which the warm-up rises.
        end: The rate to which it decays.
        decay: Shape of the decay.
        horizon: Length of the schedule over the length of the training. Above 1 the decay is
            stopped before its end; below 1 the rate stays at `end` afterwards.
    """
    warm = min(round(warmup * steps), steps - 1)
    if step < warm:
        return start + (peak - start) * (step + 1) / warm
    return decay(peak, end, min(1.0, (step - warm) / max(1, horizon * steps - warm - 1)))
