"""Finds verdicts by gain that the final scores of the trained encoders contradict.

A gain says what training adds. A level with a higher score at random init may gain less and still
have the higher final score, so "training adds more" must not be read as "is better".
"""

from ablate.report.stats.decisions import Verdict
from ablate.report.stats.statistics import Estimate


def find_opposite_score(verdict: Verdict, margin: float) -> Estimate | None:
    """Finds the difference in final score that contradicts the word of a verdict by gain.

    Args:
        verdict: The verdict.
        margin: Points within which two levels count as equal.

    Returns:
        For *better* and *worse*, a difference of the other sign that is at least the margin or
        whose interval excludes zero; for *equivalent*, one for which both hold. Else None.
    """
    if verdict.contrast.measure != "gain" or verdict.estimate.mean is None:
        return None
    score = verdict.contrast.by_score.estimate(alpha=verdict.interval_alpha)
    if score.mean is None:
        return None
    is_large = abs(score.mean) >= margin
    excludes_zero = score.low is not None and score.high is not None and score.low * score.high > 0
    if verdict.word in ("better", "worse"):
        is_other_side = (score.mean > 0) != (verdict.word == "better")
        return score if is_other_side and (is_large or excludes_zero) else None
    return score if verdict.word == "equivalent" and is_large and excludes_zero else None
