"""Contrasts become verdicts here: a difference, its interval, how sure, and one word.

The three families of contrasts are corrected by Holm apart from one another. A word is taken
back where an interaction shows or where failures could have chosen the winner.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ablate.reporting.contrasts import Contrast, contrasts
from ablate.reporting.results import Results
from ablate.reporting.statistics import (
    Estimate,
    equivalence,
    further_seeds,
    holm,
    interaction,
    seed_correlation,
    t_interval,
    verdict_word,
)

FAMILIES = {
    "pooled": "pooled contrasts",
    "within": "contrasts within a combination",
    "learning": "learning contrasts",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to one contrast. The p-values are corrected within the contrast's family."""

    contrast: Contrast
    estimate: Estimate
    p: float | None
    p_equivalent: float | None
    interaction: float | None  # p of *the difference depends on the combination*
    correlation: float | None  # of the two arms over seeds
    word: str  # better, worse, equivalent, undecided, or "differs by <factors>"
    further_seeds: int | None  # for an undecided one: how many might settle it
    notes: tuple[str, ...]


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Answers every contrast of the study, family by family."""
    asked = contrasts(results)
    report = results.plan["report"]
    found: list[Verdict] = []
    for name in FAMILIES:
        found.extend(_answered([c for c in asked if c.family == name], report))
    return tuple(found)


def _answered(family: list[Contrast], report: Mapping[str, float]) -> Iterator[Verdict]:
    alpha, margin = report["alpha"], report["equivalence_margin"]
    estimates = [t_interval([*c.differences.values()], alpha=alpha) for c in family]
    ps = holm([estimate.p for estimate in estimates])
    equivalents = holm([equivalence(estimate, margin=margin) for estimate in estimates])
    for contrast, estimate, p, equivalent in zip(family, estimates, ps, equivalents, strict=True):
        claim = verdict_word(estimate, p=p, p_equivalent=equivalent, alpha=alpha)
        depends = interaction([[*pair.differences.values()] for pair in contrast.pairs])
        word = _allowed(claim, contrast, depends=depends, alpha=alpha)
        seeds = None
        if word == claim == "undecided":
            effect = max(abs(estimate.mean or 0.0), margin)
            # the level that Holm asks of the family's smallest p
            seeds = further_seeds(estimate, effect=effect, alpha=alpha / len(family))
        yield Verdict(
            contrast=contrast,
            estimate=estimate,
            p=p,
            p_equivalent=equivalent,
            interaction=depends,
            correlation=seed_correlation(*_values(contrast)),
            word=word,
            further_seeds=seeds,
            notes=tuple(_notes(contrast, estimate, claim=claim, word=word)),
        )


def _allowed(claim: str, contrast: Contrast, *, depends: float | None, alpha: float) -> str:
    """Returns the claim, or the word that an interaction or unequal failures put in its place."""
    if depends is not None and depends < alpha:
        return f"differs by {' and '.join(contrast.others)}"
    failed, planned = _failures(contrast)
    rate, rate_against = (f / n for f, n in zip(failed, planned, strict=True))
    # the seeds that survive an unstable arm are its lucky ones
    if claim == "better" and rate != rate_against:
        return "undecided"
    if claim == "worse" and rate < rate_against:
        return "undecided"
    return claim


def _notes(contrast: Contrast, estimate: Estimate, *, claim: str, word: str) -> Iterator[str]:
    counts = [len(pair.matched) for pair in contrast.pairs]
    if 0 in counts and any(counts):
        yield f"no pair in {counts.count(0)} of {len(counts)} combinations"
    if estimate.n == 1:
        yield "n < 2: one seed says nothing about spread"
    if estimate.has_no_spread:
        yield "no spread: every seed gave the same difference"
    failed, _ = _failures(contrast)
    if any(failed):
        yield f"failed trials: {failed[0]} against {failed[1]}"
    if word == "undecided" and claim != word:
        yield f"not called {claim}: failure rates differ"
    arms = [arm for pair in contrast.pairs for arm in (pair.level, pair.against)]
    settings = {setting for arm in arms for setting in arm.settings}
    if len(settings) > len({name for name, _ in settings}):
        yield "mixes devices or precisions"


def _values(contrast: Contrast) -> tuple[list[list[float]], list[list[float]]]:
    """Returns the matched values of both arms, a list a combination."""
    matched = [list(pair.matched.values()) for pair in contrast.pairs]
    level = [[one for one, _ in values] for values in matched]
    against = [[other for _, other in values] for values in matched]
    return level, against


def _failures(contrast: Contrast) -> tuple[tuple[int, int], tuple[int, int]]:
    """Counts the failed and the planned trials of the level and of what it is held against."""
    failed = (
        sum(pair.level.failed for pair in contrast.pairs),
        sum(pair.against.failed for pair in contrast.pairs),
    )
    planned = (
        sum(len(pair.level.values) for pair in contrast.pairs),
        sum(len(pair.against.values) for pair in contrast.pairs),
    )
    return failed, planned
