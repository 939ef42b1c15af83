"""Writes what test clips contribute to the spread of differences, and what more would change."""

import math
from collections.abc import Sequence

from ablate.report.stats.clip_noise import ClipShare, SeedVariance, compute_clip_share

MORE_CLIPS = 4  # times as many
NOTABLE_SHARE = 0.25  # a report mentions no smaller share


def write_clip_share(variances: Sequence[SeedVariance | None]) -> str:
    """Writes how much of the variance over seeds is noise of the test clips; empty if unknown.

    Args:
        variances: Variance over seeds of each contrast, on the test clips.
    """
    estimated = compute_clip_share(variances)
    if estimated is None or estimated.share < NOTABLE_SHARE:
        return ""
    left = math.sqrt(1 - estimated.share + estimated.share / MORE_CLIPS)
    return (
        f"{_format_share(estimated)} of the variance of differences over seeds is noise of the "
        f"{estimated.num_groups:,} test clips (or groups); with {MORE_CLIPS} times as many, their "
        f"SD would be {left:.2f} times as large. More clips need scoring, but no training."
    )


def write_clip_plan(
    variances: Sequence[SeedVariance | None], spread: float | None, num_test_groups: int | None
) -> str:
    """Writes what the clips contribute to a spread measured on validation clips; empty if unknown.

    Args:
        variances: Variance over seeds of each contrast, on the validation clips.
        spread: Standard deviation of the differences on the validation clips, in points.
        num_test_groups: Independent groups of test clips, over all tasks.
    """
    estimated = compute_clip_share(variances)
    if estimated is None or not spread or not num_test_groups:
        return ""
    share, clips = estimated.share, estimated.num_groups

    def predict(groups: int) -> str:
        return f"{spread * math.sqrt(1 - share + share * clips / groups):.2g} points"

    more = MORE_CLIPS * num_test_groups
    return (
        f"{_format_share(estimated)} of its variance is noise of the {clips:,} validation clips "
        f"(or groups). On the {num_test_groups:,} test clips the SD should be "
        f"{predict(num_test_groups)}, and on {more:,} {predict(more)}, without more training."
    )


def _format_share(estimated: ClipShare) -> str:
    low, high = (f"{100 * share:.0f}" for share in (estimated.low, estimated.high))
    return f"About {100 * estimated.share:.0f} % ({low} to {high} %)"
