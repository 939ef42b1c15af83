"""Warns of contrasts that other probes and poolings read differently than the study's own score."""

from collections.abc import Iterator, Mapping, Sequence

from ablate.report.pages.claims import format_scope
from ablate.report.pages.sentences import format_contrast
from ablate.report.pages.table import Row
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.robustness import (
    Bounds,
    format_difference,
    get_differences,
    get_side_of_zero,
)

MAX_NAMES = 3  # readings listed by name in a caveat


def warn_of_other_readings(
    results: Results, verdicts: Sequence[Verdict], rows: Sequence[Row]
) -> Iterator[str]:
    """Warns of contrasts whose word another probe or pooling contradicts.

    A difference that the study's own score shows: readings with the other sign. *Equivalent*:
    readings that show a difference beyond the margin, on either side. Where the study's own score
    shows nothing, the sign of its mean is noise: all readings that show a difference.

    Args:
        results: The trials of the study.
        verdicts: The verdicts on all its contrasts.
        rows: Rows of the robustness table.
    """
    own, margin = format_score_name(results), results.plan.report.equivalence_margin
    words = {(*_get_sides(v), format_scope(v.contrast)): v.word for v in verdicts}
    for row in rows:
        sides = row["family"], row["factor"], row["level"], row["against"], row["where"]
        word = words.get(sides) if row["judged"] else None
        differences = get_differences(row)
        side = get_side_of_zero(differences.pop(own))
        clear = {name: bounds for name, bounds in differences.items() if get_side_of_zero(bounds)}
        name = f"{format_contrast(row)} ({row['where']}, by {row['measure']})"
        measured = f"{format_difference(row, own)} by {own}"
        if word == "equivalent":
            beyond = {key: each for key, each in clear.items() if abs(each[0] or 0.0) >= margin}
            begin = f"{name} is equivalent by the study's own score ({measured}), but differs by "
            if beyond:
                yield f"{begin}{margin:g} points or more by {_list(row, beyond, differences)}."
        elif word == "undecided" or (word is None and not side):
            begin = (
                f"{name} is {word or 'not shown to differ'} by the study's own score ({measured})"
            )
            if clear:
                yield f"{begin}; its interval excludes zero by {_list(row, clear, differences)}."
        elif row["other_sign"]:
            basis = ", on which the verdict is based" if row["judged"] else ""
            yield (
                f"{name} has the opposite sign with another probe or pooling: "
                f"{row['other_sign']}, but {measured}{basis}."
            )


def _get_sides(verdict: Verdict) -> tuple[str, str, str, str]:
    contrast = verdict.contrast
    return contrast.family, contrast.factor, contrast.level, contrast.against


def _list(row: Row, chosen: Mapping[str, Bounds], others: Mapping[str, Bounds]) -> str:
    """Lists readings, the largest differences first, and counts them among all others."""
    ordered = sorted(chosen, key=lambda name: -abs(chosen[name][0] or 0.0))
    named = [f"{format_difference(row, name)} by {name}" for name in ordered[:MAX_NAMES]]
    more = f"; and {len(ordered) - MAX_NAMES} more" if len(ordered) > MAX_NAMES else ""
    count = f"{len(ordered)} of {len(others)} other probes and poolings"
    return f"{count}, uncorrected: {'; '.join(named)}{more}"
