"""Contrasts become verdicts here: a difference, its interval, how sure, and one word.

Each family of contrasts is corrected by Holm on its own. Where seeds are added after a look, a
p-value is divided by the share of the error that the look may spend, so that every p can be held
against the study's alpha; what an earlier look decided stands. A word is withdrawn where an
interaction shows or where failures could have chosen the winner. *Better* and *worse* are said
within a combination only where the pooled contrast and its interaction, corrected by Bonferroni
for being two tests, show that there is some difference.

Where all variants are equal, pooled words are false in at most alpha of the studies, and so are
those within a combination. Either is false in at most one and a half times alpha, as only what an
interaction opened, at half of alpha, adds to the pooled ones: 4.4 to 5.7 % in simulations.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ablate.report.results import Results
from ablate.report.stats.contrasts import Contrast, contrasts
from ablate.report.stats.decision_rules import Rules, rules
from ablate.report.stats.power import detectable_difference, further_seeds, most_further
from ablate.report.stats.statistics import (
    Estimate,
    effect_size,
    equivalence,
    interaction,
    seed_correlation,
    t_interval,
    verdict_word,
)

UNSURE = "undecided"
MIXED = {
    "devices or precisions": ("device", "precision"),
    "versions of the code": ("code",),
    "versions of libraries": ("versions",),
    "numbers of ranks": ("ranks",),
}
FAMILIES = {
    "pooled": "pooled contrasts",
    "within": "contrasts within a combination",
    "learning": "learning contrasts",
    "confirmation": "confirmations on fresh seeds",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer to one contrast.

    All p-values but `estimate.p` are corrected for its family, and are the least of all looks.
    """

    contrast: Contrast
    estimate: Estimate  # of the difference, in points
    level: float  # of the error: the interval covers one less this
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
    look: int | None  # with how many seeds it was decided, where several looks are declared
    notes: tuple[str, ...]


Found = dict[tuple[object, ...], Verdict]  # by what is asked, in order


def verdicts(results: Results) -> tuple[Verdict, ...]:
    """Answers every contrast of the study, family by family; earlier looks are computed again.

    A confirmation is looked at once, and so has all of alpha to itself.
    """
    found: Found = {}
    *earlier, now = rules(results.plan).so_far
    for past in earlier:
        assert past.looks is not None
        found = _looked(_at(results, past.looks.counts[-1]), past, found)
    return tuple(map(_agreeing, _looked(results, now, found).values()))


def _at(results: Results, count: int) -> Results:
    """Returns what there was with the first `count` seeds, nothing confirmed."""
    seeds = set(results.plan["seeds"][:count])
    trials = tuple(trial for trial in results.trials if trial.seed in seeds)
    return dataclasses.replace(results, trials=trials, fresh=())


def _looked(results: Results, rules: Rules, before: Found) -> Found:
    """Answers every contrast at one look, beside what the looks before it found."""
    asked = contrasts(results)
    found: Found = {}
    gates: dict[tuple[str, str], float] = {}
    for name in FAMILIES:
        once = dataclasses.replace(rules, looks=None) if name == "confirmation" else rules
        family = [contrast for contrast in asked if contrast.family == name]
        for verdict in _answered(family, once, gates):
            key = _question(verdict.contrast)
            found[key] = _carried(before[key], verdict) if key in before else verdict
            if name == "pooled":
                gates[_key(verdict.contrast)] = _gate(found[key])
    return found


def _carried(before: Verdict, now: Verdict) -> Verdict:
    """Returns the verdict of this look, or the word of an earlier one that stands.

    Only an interaction that shows later takes a pooled word away.
    """
    kept = dataclasses.replace(
        now,
        p=_least(before.p, now.p),
        p_equivalent=_least(before.p_equivalent, now.p_equivalent),
        interaction=_least(before.interaction, now.interaction),
    )
    if before.look is None or (_differs(now) and not _differs(before)):
        return kept
    told = _notes(now.contrast, now.estimate, claim=before.word, word=before.word)
    return dataclasses.replace(
        kept,
        claim=before.claim,
        word=before.word,
        look=before.look,
        further_seeds=None,
        notes=(*told, f"decided at the look with {before.look} seeds"),
    )


def _agreeing(verdict: Verdict) -> Verdict:
    """Takes back a word of an earlier look where all seeds together point the other way."""
    mean, word = verdict.estimate.mean, verdict.word
    if mean is None or not ((word == "better" and mean < 0) or (word == "worse" and mean > 0)):
        return verdict
    notes = (*verdict.notes, f"not called {word}: all seeds together point the other way")
    return dataclasses.replace(verdict, word=UNSURE, notes=notes)


def open_contrasts(found: Sequence[Verdict]) -> list[str]:
    """Names the contrasts that more seeds could decide: `masker: block against random`.

    The pooled ones and, of one that differs by combination, those within each. A contrast without
    a score on both sides is left out, and so is one that only failures keep undecided.
    """
    pooled = [verdict for verdict in found if verdict.contrast.family == "pooled"]
    apart = {_key(v.contrast) for v in pooled if _differs(v)}
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
    family: list[Contrast], rules: Rules, gates: Mapping[tuple[str, str], float]
) -> Iterator[Verdict]:
    estimates = [t_interval([*c.differences.values()], alpha=rules.level) for c in family]
    alone = rules.corrected([estimate.p for estimate in estimates])
    equivalents = rules.corrected([equivalence(e, margin=rules.margin) for e in estimates])
    depends = _depends(family, rules)
    for contrast, estimate, p, equivalent in zip(
        family, estimates, alone, equivalents, strict=True
    ):
        gate = gates[_key(contrast)] if contrast.family == "within" else 0.0
        gated = None if p is None else max(p, gate)
        shut = p is not None and p < rules.alpha <= gate
        claim = verdict_word(estimate, p=gated, p_equivalent=equivalent, alpha=rules.alpha)
        depending = depends.get(_question(contrast))
        word = _allowed(claim, contrast, depends=depending, alpha=rules.alpha)
        notes = [*_notes(contrast, estimate, claim=claim, word=word)]
        if word in ("better", "worse") and abs(estimate.mean or 0.0) < rules.margin:
            notes.append(f"smaller than the margin of {rules.margin:g}")
        if shut and word == UNSURE:
            notes.append(
                "no verdict here: the pooled contrast and its interaction together reach no more "
                f"than p {gate:.3f}"
            )
        yield Verdict(
            contrast=contrast,
            estimate=estimate,
            level=rules.level,
            effect_size=effect_size(estimate),
            p=gated,
            p_equivalent=equivalent,
            interaction=depending,
            correlation=seed_correlation(*_values(contrast)),
            detectable=_detectable(estimate, rules, len(family)),
            claim=claim,
            word=word,
            further_seeds=_further(estimate, rules, len(family))
            if claim == word == UNSURE and not shut
            else None,
            most_further=most_further(rules.looks),
            look=rules.looks.counts[-1] if rules.looks and word != UNSURE else None,
            notes=tuple(notes),
        )


def _depends(family: Sequence[Contrast], rules: Rules) -> dict[tuple[object, ...], float | None]:
    """Tests where contrasts depend on the combination, a family of those that have several."""
    several = [contrast for contrast in family if len(contrast.pairs) > 1]
    found = rules.corrected([interaction([*contrast.by_seed.values()]) for contrast in several])
    return dict(zip(map(_question, several), found, strict=True))


def _detectable(estimate: Estimate, rules: Rules, family: int) -> float | None:
    if not estimate.sd or not rules.share:
        return None
    return detectable_difference(estimate.sd, estimate.n, alpha=rules.level, family=family)


def _further(estimate: Estimate, rules: Rules, family: int) -> int | None:
    if not most_further(rules.looks):
        return None
    return further_seeds(
        estimate, margin=rules.margin, alpha=rules.alpha, family=family, looks=rules.looks
    )


def _key(contrast: Contrast) -> tuple[str, str]:
    return contrast.factor, contrast.level


def _question(contrast: Contrast) -> tuple[object, ...]:
    return contrast.family, contrast.factor, contrast.level, contrast.held


def _gate(pooled: Verdict) -> float:
    """Returns the p of *there is no difference in any combination*: of two tests, the surer one.

    No contrast within a combination may have a smaller one.
    """
    known = [p for p in (pooled.p, pooled.interaction) if p is not None]
    return min(len(known) * min(known), 1.0) if known else 1.0


def _least(one: float | None, other: float | None) -> float | None:
    return min((p for p in (one, other) if p is not None), default=None)


def _differs(verdict: Verdict) -> bool:
    return verdict.word.startswith("differs")


def _allowed(claim: str, contrast: Contrast, *, depends: float | None, alpha: float) -> str:
    """Returns the claim, or the word that an interaction or unequal failures put in its place."""
    if depends is not None and depends < alpha:
        return f"differs by {' and '.join(contrast.others)}"
    failed, planned = contrast.failures
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
    failed, _ = contrast.failures
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
