"""Schedules: values per step that reach their end at the last step."""

import math


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


def warm_cosine(peak: float, step: int, steps: int, warmup: float) -> float:
    """Computes a rate with linear warm-up to `peak` and cosine decay to 0.

    Args:
        peak: The highest rate.
        step: Current step, counted from 0. At step 0 the rate is peak / warm-up steps.
        steps: Number of steps. At the last one the rate is 0, unless it directly follows warm-up.
        warmup: Share of the steps, in [0, 1].
    """
    warm = min(round(warmup * steps), steps - 1)
    if step < warm:
        return peak * (step + 1) / warm
    return cosine(peak, 0.0, ramp(step - warm, steps - warm))
