"""Chooses which variants a figure names if there are more than it has styles for."""

from collections.abc import Sequence
from statistics import mean

from ablate.report.figures.style import COLOURS, LINE_STYLES, LineStyle, assign_line_styles
from ablate.report.results import Results

Levels = tuple[str, ...]
MAX_STYLES = len(COLOURS) * len(LINE_STYLES)  # more variants cannot be told apart
NUM_HIGHEST, NUM_LOWEST = 4, 2
MAX_HIGHLIGHTS = len(COLOURS)


def choose_highlights(
    results: Results, first: Sequence[Levels] = ()
) -> dict[Levels, tuple[str, LineStyle]]:
    """Returns the colour and line style of each variant that a figure names.

    These are all variants if there are styles for all. Otherwise they are the baseline, those in
    `first`, and those with the highest and the lowest mean scores; a figure draws the others grey.
    """
    variants = results.variants()
    if len(variants) <= MAX_STYLES:
        return assign_line_styles(results)
    scores = {
        levels: [trial.score for trial in trials if trial.score is not None]
        for levels, trials in variants.items()
    }
    ranked = sorted(filter(scores.get, variants), key=lambda levels: -mean(scores[levels]))
    baseline = tuple(results.plan.baseline.get(factor, "-") for factor in results.factors)
    ends = [*ranked[:NUM_HIGHEST], *ranked[-NUM_LOWEST:]]
    wanted = [levels for levels in (baseline, *first, *ends) if levels in variants]
    chosen = list(dict.fromkeys(wanted))[:MAX_HIGHLIGHTS]
    styles = enumerate(zip(chosen, COLOURS, strict=False))
    return {
        levels: (colour, LINE_STYLES[number % len(LINE_STYLES)])
        for number, (levels, colour) in styles
    }


def describe_highlights(results: Results, first: str = "") -> str:
    """Returns the sentence of a caption that says which variants are named; "" if all are.

    `first` describes those that `choose_highlights` was given.
    """
    if len(results.variants()) <= MAX_STYLES:
        return ""
    return (
        f"Named: the baseline, {first}and the variants with the highest and the lowest scores, "
        f"{MAX_HIGHLIGHTS} at most; the others are grey. "
    )
