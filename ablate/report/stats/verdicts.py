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
from ablate.report.stats.contrasts import Contrast, list_contrasts
from ablate.report.stats.decision_rules import DecisionRules, read_decision_rules
from ablate.report.stats.power import (
    compute_detectable_difference,
    estimate_further_seeds,
    get_max_further_seeds,
)
from ablate.report.stats.statistics import (
    Estimate,
    compute_effect_size,
    compute_equivalence_p,
    compute_interaction_p,
    compute_seed_correlation,
    estimate_mean,
    get_verdict_word,
)

UNDECIDED = "undecided"
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
    unrestricted_word: str  # the word if failed trials did not count
    word: str  # better, worse, equivalent, undecided, or "differs by <factors>"
    num_further_seeds: int | None  # for an undecided one: how many might settle it
    max_further_seeds: int  # one more of them means: more than that
    decided_at: int | None  # with how many seeds it was decided, where several looks are declared
    notes: tuple[str, ...]


VerdictsByKey = dict[tuple[object, ...], Verdict]  # by what is asked, in order


def compute_verdicts(results: Results) -> tuple[Verdict, ...]:
    """Answers every contrast of the study, family by family; earlier looks are computed again.

    A confirmation is looked at once, and so has all of alpha to itself.
    """
    found: VerdictsByKey = {}
    *earlier, now = read_decision_rules(results.plan).history
    for past in earlier:
        assert past.looks is not None
        found = _decide_at_look(_get_results_at(results, past.looks.seed_counts[-1]), past, found)
    return tuple(map(_withdraw_contradicted, _decide_at_look(results, now, found).values()))


def _get_results_at(results: Results, count: int) -> Results:
    """Returns what there was with the first `count` seeds, nothing confirmed."""
    seeds = set(results.plan["seeds"][:count])
    trials = tuple(trial for trial in results.trials if trial.seed in seeds)
    return dataclasses.replace(results, trials=trials, confirmation_trials=())


def _decide_at_look(results: Results, rules: DecisionRules, before: VerdictsByKey) -> VerdictsByKey:
    """Answers every contrast at one look, beside what the looks before it found."""
    asked = list_contrasts(results)
    found: VerdictsByKey = {}
    gates: dict[tuple[str, str], float] = {}
    for name in FAMILIES:
        once = dataclasses.replace(rules, looks=None) if name == "confirmation" else rules
        family = [contrast for contrast in asked if contrast.family == name]
        for verdict in _decide_family(family, once, gates):
            key = _get_contrast_key(verdict.contrast)
            found[key] = _carry_over(before[key], verdict) if key in before else verdict
            if name == "pooled":
                gates[_get_level_key(verdict.contrast)] = _compute_gate(found[key])
    return found


def _carry_over(before: Verdict, now: Verdict) -> Verdict:
    """Returns the verdict of this look, or the word of an earlier one that stands.

    Only an interaction that shows later takes a pooled word away.
    """
    kept = dataclasses.replace(
        now,
        p=_get_min_p(before.p, now.p),
        p_equivalent=_get_min_p(before.p_equivalent, now.p_equivalent),
        interaction=_get_min_p(before.interaction, now.interaction),
    )
    if before.decided_at is None or (_is_interaction(now) and not _is_interaction(before)):
        return kept
    told = _list_notes(now.contrast, now.estimate, claim=before.word, word=before.word)
    return dataclasses.replace(
        kept,
        unrestricted_word=before.unrestricted_word,
        word=before.word,
        decided_at=before.decided_at,
        num_further_seeds=None,
        notes=(*told, f"decided at the look with {before.decided_at} seeds"),
    )


def _withdraw_contradicted(verdict: Verdict) -> Verdict:
    """Takes back a word of an earlier look where all seeds together point the other way."""
    mean, word = verdict.estimate.mean, verdict.word
    if mean is None or not ((word == "better" and mean < 0) or (word == "worse" and mean > 0)):
        return verdict
    notes = (*verdict.notes, f"not called {word}: all seeds together point the other way")
    return dataclasses.replace(verdict, word=UNDECIDED, notes=notes)


def list_undecided_contrasts(found: Sequence[Verdict]) -> list[str]:
    """Names the contrasts that more seeds could decide: `masker: block against random`.

    The pooled ones and, of one that differs by combination, those within each. A contrast without
    a score on both sides is left out, and so is one that only failures keep undecided.
    """
    pooled = [verdict for verdict in found if verdict.contrast.family == "pooled"]
    apart = {_get_level_key(v.contrast) for v in pooled if _is_interaction(v)}
    within = [
        v for v in found if v.contrast.family == "within" and _get_level_key(v.contrast) in apart
    ]
    names = []
    for verdict in (*pooled, *within):
        contrast, known = verdict.contrast, verdict.estimate.mean is not None
        if known and verdict.unrestricted_word == verdict.word == UNDECIDED:
            held = contrast.fixed_levels if contrast.family == "within" else ()
            where = f" with {', '.join(level for _, level in held)}" if held else ""
            names.append(f"{contrast.factor}: {contrast.level} against {contrast.against}{where}")
    return names


def _decide_family(
    family: list[Contrast], rules: DecisionRules, gates: Mapping[tuple[str, str], float]
) -> Iterator[Verdict]:
    estimates = [estimate_mean([*c.differences.values()], alpha=rules.level) for c in family]
    alone = rules.correct([estimate.p for estimate in estimates])
    equivalents = rules.correct([compute_equivalence_p(e, margin=rules.margin) for e in estimates])
    depends = _test_interactions(family, rules)
    for contrast, estimate, p, equivalent in zip(
        family, estimates, alone, equivalents, strict=True
    ):
        gate = gates[_get_level_key(contrast)] if contrast.family == "within" else 0.0
        gated = None if p is None else max(p, gate)
        shut = p is not None and p < rules.alpha <= gate
        claim = get_verdict_word(estimate, p=gated, p_equivalent=equivalent, alpha=rules.alpha)
        depending = depends.get(_get_contrast_key(contrast))
        word = _restrict_word(claim, contrast, depends=depending, alpha=rules.alpha)
        notes = [*_list_notes(contrast, estimate, claim=claim, word=word)]
        if word in ("better", "worse") and abs(estimate.mean or 0.0) < rules.margin:
            notes.append(f"smaller than the margin of {rules.margin:g}")
        if shut and word == UNDECIDED:
            notes.append(
                "no verdict here: the pooled contrast and its interaction together reach no more "
                f"than p {gate:.3f}"
            )
        yield Verdict(
            contrast=contrast,
            estimate=estimate,
            level=rules.level,
            effect_size=compute_effect_size(estimate),
            p=gated,
            p_equivalent=equivalent,
            interaction=depending,
            correlation=compute_seed_correlation(*_get_arm_values(contrast)),
            detectable=_compute_detectable(estimate, rules, len(family)),
            unrestricted_word=claim,
            word=word,
            num_further_seeds=_compute_further_seeds(estimate, rules, len(family))
            if claim == word == UNDECIDED and not shut
            else None,
            max_further_seeds=get_max_further_seeds(rules.looks),
            decided_at=rules.looks.seed_counts[-1] if rules.looks and word != UNDECIDED else None,
            notes=tuple(notes),
        )


def _test_interactions(
    family: Sequence[Contrast], rules: DecisionRules
) -> dict[tuple[object, ...], float | None]:
    """Tests where contrasts depend on the combination, a family of those that have several."""
    several = [contrast for contrast in family if len(contrast.pairs) > 1]
    found = rules.correct(
        [compute_interaction_p([*contrast.differences_by_seed.values()]) for contrast in several]
    )
    return dict(zip(map(_get_contrast_key, several), found, strict=True))


def _compute_detectable(estimate: Estimate, rules: DecisionRules, family: int) -> float | None:
    if not estimate.sd or not rules.error_share:
        return None
    return compute_detectable_difference(estimate.sd, estimate.n, alpha=rules.level, family=family)


def _compute_further_seeds(estimate: Estimate, rules: DecisionRules, family: int) -> int | None:
    if not get_max_further_seeds(rules.looks):
        return None
    return estimate_further_seeds(
        estimate, margin=rules.margin, alpha=rules.alpha, family=family, looks=rules.looks
    )


def _get_level_key(contrast: Contrast) -> tuple[str, str]:
    return contrast.factor, contrast.level


def _get_contrast_key(contrast: Contrast) -> tuple[object, ...]:
    return contrast.family, contrast.factor, contrast.level, contrast.fixed_levels


def _compute_gate(pooled: Verdict) -> float:
    """Returns the p of *there is no difference in any combination*: of two tests, the surer one.

    No contrast within a combination may have a smaller one.
    """
    known = [p for p in (pooled.p, pooled.interaction) if p is not None]
    return min(len(known) * min(known), 1.0) if known else 1.0


def _get_min_p(one: float | None, other: float | None) -> float | None:
    return min((p for p in (one, other) if p is not None), default=None)


def _is_interaction(verdict: Verdict) -> bool:
    return verdict.word.startswith("differs")


def _restrict_word(claim: str, contrast: Contrast, *, depends: float | None, alpha: float) -> str:
    """Returns the claim, or the word that an interaction or unequal failures put in its place."""
    if depends is not None and depends < alpha:
        return f"differs by {' and '.join(contrast.pooled_factors)}"
    failed, planned = contrast.failure_counts
    rate, rate_against = (f / n for f, n in zip(failed, planned, strict=True))
    # the seeds that survive an unstable arm are its lucky ones
    if claim == "better" and rate != rate_against:
        return "undecided"
    if claim == "worse" and rate < rate_against:
        return "undecided"
    return claim


def _list_notes(contrast: Contrast, estimate: Estimate, *, claim: str, word: str) -> Iterator[str]:
    counts = [len(pair.paired_values) for pair in contrast.pairs]
    if 0 in counts and any(counts):
        yield f"no pair in {counts.count(0)} of {len(counts)} combinations"
    if estimate.n == 1:
        yield "n < 2: one seed gives no spread"
    if estimate.is_constant:
        yield "no spread: every seed gave the same difference"
    failed, _ = contrast.failure_counts
    if any(failed):
        yield f"failed trials: {failed[0]} vs {failed[1]}"
    if word == "undecided" and claim != word:
        yield f"would be {claim}, but failure rates differ"
    arms = [arm for pair in contrast.pairs for arm in (pair.level, pair.against)]
    settings = frozenset().union(*(arm.settings for arm in arms))
    for what, names in MIXED.items():
        if any(sum(name == of for of, _ in settings) > 1 for name in names):
            yield f"mixes {what}"


def _get_arm_values(contrast: Contrast) -> tuple[list[list[float]], list[list[float]]]:
    """Returns the matched values of both arms, a list a combination."""
    matched = [list(pair.paired_values.values()) for pair in contrast.pairs]
    level = [[one for one, _ in values] for values in matched]
    against = [[other for _, other in values] for values in matched]
    return level, against
