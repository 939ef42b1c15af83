"""Writes what a verdict claims: which level is better, or to which one training adds more.

A contrast by gain says nothing about the final scores, so its claim never calls a level better, and
names a final score that points the other way.
"""

from collections.abc import Mapping, Sequence

from ablate.report.pages.table import format_interval, format_number
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.power import MAX_STUDY_SEEDS, SeedRange

GAIN_WORDS = {"better": "more", "worse": "less", "equivalent": "as much"}


def write_claim(verdict: Verdict, parts: Sequence[Verdict]) -> str:
    """Writes the claim of a verdict, without its numbers.

    Args:
        verdict: The verdict on a contrast.
        parts: The verdicts within each combination, for one that differs by combination.
    """
    contrast, estimate = verdict.contrast, verdict.estimate
    size = "" if estimate.mean is None else f"{format_number(abs(estimate.mean))} points"
    is_gain = contrast.measure == "gain"
    claims = _list_gain_claims(contrast, size) if is_gain else _list_score_claims(contrast, size)
    claim = claims.get(verdict.word)
    if claim is None:
        each = ", ".join(_format_part(part) for part in parts)
        claim = f"{claims['differs']} {verdict.word}: {each}"
    if verdict.is_below_margin:
        claim += ", but by less than the margin"
    if (score := verdict.opposite_score) and score.mean is not None:
        side = "lower" if score.mean < 0 else "higher"
        bounds = "" if score.low is None else f" {format_interval(score.low, score.high)}"
        points = f"{format_number(abs(score.mean))} points {side}{bounds}"
        claim += f", but the final score of {contrast.level} is {points}"
    if verdict.num_further_seeds is not None:
        further = format_further_seeds(verdict)
        about = "" if further.startswith("more than") else "about "
        claim += f"; {about}{further} might settle it"
    elif verdict.study_seeds is not None:
        claim += f"; a new study would need {format_study_seeds(verdict.study_seeds)}"
    return claim


def _list_score_claims(contrast: Contrast, size: str) -> Mapping[str, str]:
    where, against = _format_where(contrast), contrast.against
    subject = f"{contrast.factor}: {contrast.level}"
    if contrast.family == "learning":
        subject, against = f"The trained encoder{where}", "its own random init"
        where = ""
    if contrast.family == "untrained":
        subject = f"The variant {contrast.level}" if contrast.level else "The trained encoder"
        against = f"the strongest baseline without training ({against})"
    if contrast.family == "confirmation":
        subject = f"On fresh seeds, {contrast.level}"
    by = f" by {size}" if size else ""
    return {
        "better": f"{subject} is better than {against}{where}{by}",
        "worse": f"{subject} is worse than {against}{where}{by}",
        "equivalent": f"{subject} and {against} are equivalent{where}",
        "undecided": f"{subject} against {against}{where} is undecided",
        "differs": f"{subject} against {against}{where}",
    }


def _list_gain_claims(contrast: Contrast, size: str) -> Mapping[str, str]:
    level, against, where = contrast.level, contrast.against, _format_where(contrast)
    begin = "On fresh seeds, " if contrast.family == "confirmation" else f"{contrast.factor}: "
    return {
        "better": f"{begin}training adds {size} more to {level} than to {against}{where}",
        "worse": f"{begin}training adds {size} less to {level} than to {against}{where}",
        "equivalent": f"{begin}training adds as much to {level} as to {against}{where}",
        "undecided": f"{begin}whether training adds more to {level} or to {against}{where} is "
        "undecided",
        "differs": f"{begin}what training adds to {level} and to {against}{where}",
    }


def _format_part(part: Verdict) -> str:
    """Formats the verdict within one combination: `worse with strips (-2.1)`."""
    is_gain, opposite = part.contrast.measure == "gain", format_opposite_score(part)
    word = GAIN_WORDS.get(part.word, part.word) if is_gain else part.word
    by_score = f"; final score {opposite}" if opposite else ""
    difference = format_number(part.estimate.mean, signed=True)
    return f"{word} with {format_scope(part.contrast)} ({difference}{by_score})"


def format_opposite_score(verdict: Verdict) -> str:
    """Formats the difference of final scores that contradicts a gain; empty if there is none."""
    score = verdict.opposite_score
    if score is None:
        return ""
    bounds = "" if score.low is None else f" {format_interval(score.low, score.high)}"
    return f"{format_number(score.mean, signed=True)}{bounds}"


def _format_where(contrast: Contrast) -> str:
    has_scope = bool(contrast.fixed_levels) and not contrast.pooled_factors
    return f" with {format_scope(contrast)}" if has_scope else ""


def format_scope(contrast: Contrast) -> str:
    """Formats the scope of a contrast: `strips`, `pooled over patchifier`, `fresh seeds`, `all`."""
    if contrast.family == "confirmation":
        return "fresh seeds"
    if contrast.pooled_factors:
        return f"pooled over {' and '.join(contrast.pooled_factors)}"
    return ", ".join(level for _, level in contrast.fixed_levels) or "all"


def format_further_seeds(verdict: Verdict) -> str:
    """Formats how many declared seeds might settle a contrast: `3 more seeds`."""
    further, most = verdict.num_further_seeds or 0, verdict.max_further_seeds
    count = f"more than {most}" if further > most else str(further)
    return f"{count} more seed{'s' * (count != '1')}"


def format_study_seeds(seeds: SeedRange) -> str:
    """Formats the seeds of a new study: `about 9 fresh seeds (5 to more than 100)`."""
    low, typical, high = (
        f"more than {MAX_STUDY_SEEDS}" if count > MAX_STUDY_SEEDS else str(count)
        for count in (seeds.low, seeds.typical, seeds.high)
    )
    about = "" if typical.startswith("more") else "about "
    return f"{about}{typical} fresh seeds" + (f" ({low} to {high})" if low != high else "")
