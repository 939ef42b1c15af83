"""Contrasts become verdicts here: a difference, its interval, how sure, and one word.

Each family of contrasts is corrected by Holm on its own. Where seeds are added after a look, a
p-value is divided by the share of the error that the look may spend, so that every p can be held
against the study's alpha. A word is withdrawn where an interaction shows or where failures could
have chosen the winner, and *better* or *worse* is said within a combination only where the pooled
contrast or its interaction shows: so pooled contrasts and single combinations together make no
more false claims of a difference than the pooled ones alone.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ablate.reporting.contrasts import Contrast, contrasts
from ablate.reporting.power import detectable_difference, further_seeds, most_further
from ablate.reporting.results import Results
from ablate.reporting.sequential import Looks, looks
from ablate.reporting.statistics import (
    Estimate,
    effect_size,
    equivalence,
    holm,
    interaction,
    seed_correlation,
    t_interval,
    verdict_word,
)

UNSURE = "undecided"
MIXED = {"devices or precisions": ("device", "precision"), "versions of the code": ("code",)}
FAMILIES = {
    "pooled": "pooled contrasts",
    "within": "contrasts within a combination",
    "learning": "learning contrasts",
    "confirmation": "confirmations on fresh seeds",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to one contrast. All p-values but `estimate.p` are corrected for its family."""

    contrast: Contrast
    estimate: Estimate  # of the difference, in points
    effect_size: float | None  # Hedges' g
    p: float | None  # of *there is no difference*
    p_equivalent: float | None  # of *the difference is no smaller than the margin*
    interaction: float | None  # p of *the difference depends on the combination*
    correlation: float | None  # of the two arms over seeds
    detectable: float | None  # points that so many seeds see with 80 % power, at this spread
    claim: str  # the word if failed trials did not count
    word: str  # better, worse, equivalent, undecided, or "differs by <factors>"
    further_seeds: int | None  # for an undecided one: how many might settle it
    most_further: int  # one more of them means: more than that
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """How a study decides."""

    alpha: float  # chance of a wrong word, over a family of contrasts
    margin: float  # points, to either side of zero, within which two levels count as equal
    looks: Looks | None  # None where the seeds are fixed

    @property
    def share(self) -> float:
        """Returns the share of alpha that this look may spend; 1 where the seeds are fixed."""
        return 1.0 if self.looks is None else self.looks.share

    def corrected(self, ps: Sequence[float | None]) -> list[float | None]:
        """Corrects a family of p-values for its size and the looks; a missing p stays missing."""
        return [None if p is None else self._spent(p) for p in holm(ps)]

    def _spent(self, p: float) -> float:
        return min(p / self.share, 1.0) if self.share else 1.0


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Answers every contrast of the study, family by family.

    A confirmation is looked at once, and so has all of alpha to itself.
    """
    report = results.plan["report"]
    rules = _Rules(
        alpha=report["alpha"], margin=report["equivalence_margin"], looks=looks(results.plan)
    )
    asked = contrasts(results)
    found: list[Verdict] = []
    gates: dict[tuple[str, str], float] = {}
    for name in FAMILIES:
        once = dataclasses.replace(rules, looks=None) if name == "confirmation" else rules
        family = list(_answered([c for c in asked if c.family == name], once, gates))
        if name == "pooled":
            gates = {_key(verdict.contrast): _gate(verdict) for verdict in family}
        found.extend(family)
    return tuple(found)


def open_contrasts(found: Sequence[Verdict]) -> list[str]:
    """Names the contrasts that more seeds could decide: `masker: block against random`.

    The pooled ones and, of one that differs by combination, those within each. A contrast without
    a score on both sides is left out, and so is one that only failures keep undecided.
    """
    pooled = [verdict for verdict in found if verdict.contrast.family == "pooled"]
    apart = {_key(v.contrast) for v in pooled if v.word.startswith("differs")}
    within = [v for v in found if v.contrast.family == "within" and _key(v.contrast) in apart]
    names = []
    for verdict in (*pooled, *within):
        contrast, known = verdict.contrast, verdict.estimate.mean is not None
        if known and verdict.claim == verdict.word == UNSURE:
            held = contrast.held if contrast.family == "within" else ()
            where = f" with {', '.join(level for _, level in held)}" if held else ""
            names.append(f"{contrast.factor}: {contrast.level} against {contrast.against}{where}")
    return names


def _answered(
    family: list[Contrast], rules: _Rules, gates: Mapping[tuple[str, str], float]
) -> Iterator[Verdict]:
    level = rules.alpha * (rules.share or 1.0)
    estimates = [t_interval([*c.differences.values()], alpha=level) for c in family]
    alone = rules.corrected([estimate.p for estimate in estimates])
    equivalents = rules.corrected([equivalence(e, margin=rules.margin) for e in estimates])
    depends = rules.corrected([interaction([*c.by_seed.values()]) for c in family])
    for contrast, estimate, p, equivalent, depending in zip(
        family, estimates, alone, equivalents, depends, strict=True
    ):
        gated = p
        if p is not None and contrast.family == "within":
            gated = max(p, gates[_key(contrast)])
        claim = verdict_word(estimate, p=gated, p_equivalent=equivalent, alpha=rules.alpha)
        word = _allowed(claim, contrast, depends=depending, alpha=rules.alpha)
        notes = [*_notes(contrast, estimate, claim=claim, word=word)]
        if p is not None and gated is not None and p < rules.alpha <= gated:
            notes.append(
                "no verdict here: neither the pooled contrast nor an interaction is significant"
            )
        yield Verdict(
            contrast=contrast,
            estimate=estimate,
            effect_size=effect_size(estimate),
            p=gated,
            p_equivalent=equivalent,
            interaction=depending,
            correlation=seed_correlation(*_values(contrast)),
            detectable=_detectable(estimate, rules, len(family)),
            claim=claim,
            word=word,
            further_seeds=_further(estimate, rules, len(family))
            if claim == word == UNSURE
            else None,
            most_further=most_further(rules.looks),
            notes=tuple(notes),
        )


def _detectable(estimate: Estimate, rules: _Rules, family: int) -> float | None:
    if not estimate.sd or not rules.share:
        return None
    level = rules.alpha * rules.share
    return detectable_difference(estimate.sd, estimate.n, alpha=level, family=family)


def _further(estimate: Estimate, rules: _Rules, family: int) -> int | None:
    if not most_further(rules.looks):
        return None
    effect = max(abs(estimate.mean or 0.0), rules.margin)
    strictest = rules.alpha / family  # the level that Holm asks of the family's smallest p
    return further_seeds(estimate, effect=effect, alpha=strictest, looks=rules.looks)


def _key(contrast: Contrast) -> tuple[str, str]:
    return contrast.factor, contrast.level


def _gate(pooled: Verdict) -> float:
    """Returns the smallest p that a contrast within a combination of this one may have."""
    return min((p for p in (pooled.p, pooled.interaction) if p is not None), default=1.0)


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
        yield "n < 2: one seed gives no spread"
    if estimate.has_no_spread:
        yield "no spread: every seed gave the same difference"
    failed, _ = _failures(contrast)
    if any(failed):
        yield f"failed trials: {failed[0]} vs {failed[1]}"
    if word == "undecided" and claim != word:
        yield f"would be {claim}, but failure rates differ"
    arms = [arm for pair in contrast.pairs for arm in (pair.level, pair.against)]
    settings = frozenset().union(*(arm.settings for arm in arms))
    for what, names in MIXED.items():
        if any(sum(name == of for of, _ in settings) > 1 for name in names):
            yield f"mixes {what}"


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
