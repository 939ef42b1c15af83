"""Computes the verdicts of a study over all its looks.

Each family of contrasts is corrected by Holm separately. If seeds are added after a look, a p-value
is replaced by the error level over all looks at which it would decide, so every p-value is
comparable to the study's alpha; the decision of an earlier look stands.

Error rates: if all variants are equal, at most alpha of the studies have a false pooled word, and
at most alpha a false word within a combination. Either is false in at most 1.5 alpha: only words
that an interaction allows, tested at alpha / 2, add to the pooled ones (2.5 to 5.3 % in
simulations). The same holds for *equivalent* if all differences are as large as the margin.
"""

import dataclasses
from collections.abc import Sequence

from ablate.report.results import Results
from ablate.report.stats.contrasts import list_contrasts
from ablate.report.stats.decision_rules import DecisionRules, read_decision_rules
from ablate.report.stats.decisions import (
    Gate,
    Verdict,
    compute_gate,
    decide_family,
    get_contrast_key,
    get_level_key,
)
from ablate.report.stats.notes import UNDECIDED, list_notes
from ablate.report.stats.opposite_scores import find_opposite_score

FAMILIES = {
    "pooled": "pooled contrasts",
    "within": "contrasts within a combination",
    "learning": "learning contrasts",
    "untrained": "contrasts with the strongest baseline without training",
    "confirmation": "confirmations on fresh seeds",
}
VerdictsByKey = dict[tuple[object, ...], Verdict]  # in the order of the contrasts


def compute_verdicts(results: Results) -> tuple[Verdict, ...]:
    """Decides every contrast of a study, family by family.

    Earlier looks are recomputed from the seeds that they had. Confirmation contrasts are looked at
    once, so they have all of alpha.

    Args:
        results: Scores of the study, in percent.

    Returns:
        One verdict per contrast, in the order of `list_contrasts`.
    """
    decided: VerdictsByKey = {}
    *earlier, now = read_decision_rules(results.plan).history
    for past in earlier:
        assert past.looks is not None
        at_look = _get_results_at(results, past.looks.seed_counts[-1])
        # a comparison that is absent from one look, since another baseline led, may come back
        decided |= _decide_at_look(at_look, past, decided)
    at_last_look = _decide_at_look(results, now, decided).values()
    final = [_withdraw_contradicted(verdict, now.margin) for verdict in at_last_look]
    final = [
        dataclasses.replace(verdict, opposite_score=find_opposite_score(verdict, now.margin))
        for verdict in final
    ]
    separate = results.plan.separate_seeds
    if separate is None or not separate.scope:
        return tuple(final)
    return tuple(dataclasses.replace(v, notes=(*v.notes, separate.scope)) for v in final)


def _get_results_at(results: Results, num_seeds: int) -> Results:
    """Returns the results with the first `num_seeds` seeds, without confirmation trials."""
    seeds = set(results.plan.seeds[:num_seeds])
    trials = tuple(trial for trial in results.trials if trial.seed in seeds)
    return dataclasses.replace(results, trials=trials, confirmation_trials=())


def _decide_at_look(results: Results, rules: DecisionRules, before: VerdictsByKey) -> VerdictsByKey:
    """Decides every contrast at one look, given the verdicts of the look before it."""
    contrasts = list_contrasts(results)
    verdicts: VerdictsByKey = {}
    gates: dict[tuple[str, str], Gate] = {}
    for name in FAMILIES:
        confirming = name == "confirmation"
        family_rules = dataclasses.replace(rules, looks=None) if confirming else rules
        family = [contrast for contrast in contrasts if contrast.family == name]
        for verdict in decide_family(family, family_rules, gates):
            key = get_contrast_key(verdict.contrast)
            verdicts[key] = _carry_over(before[key], verdict, rules) if key in before else verdict
            if name == "pooled":
                gates[get_level_key(verdict.contrast)] = compute_gate(
                    verdicts[key], rules, len(family)
                )
    return verdicts


def _carry_over(before: Verdict, now: Verdict, rules: DecisionRules) -> Verdict:
    """Returns this look's verdict, or with the word of an earlier look if that was decided.

    Only an interaction that becomes significant later replaces a pooled word.
    """
    merged = dataclasses.replace(
        now,
        p=_get_min_p(before.p, now.p),
        p_equivalent=_get_min_p(before.p_equivalent, now.p_equivalent),
        p_interaction=_get_min_p(before.p_interaction, now.p_interaction),
    )
    if before.decided_at is None or (_is_interaction(now) and not _is_interaction(before)):
        return merged
    notes = list_notes(
        now.contrast, now.estimate, rules, unrestricted_word=before.word, word=before.word
    )
    return dataclasses.replace(
        merged,
        unrestricted_word=before.unrestricted_word,
        word=before.word,
        decided_at=before.decided_at,
        num_further_seeds=None,
        new_study=None,
        notes=(*notes, f"decided at the look with {before.decided_at} seeds"),
    )


def _withdraw_contradicted(verdict: Verdict, margin: float) -> Verdict:
    """Withdraws a word of an earlier look that the mean over all seeds contradicts."""
    mean, word = verdict.estimate.mean, verdict.word
    if mean is None:
        return verdict
    if (word == "better" and mean < 0) or (word == "worse" and mean > 0):
        reason = "has the opposite sign"
    elif word == "equivalent" and abs(mean) >= margin:
        reason = f"is not within the margin of {margin:g}"
    else:
        return verdict
    notes = (*verdict.notes, f"not called {word}: the mean over all seeds {reason}")
    return dataclasses.replace(verdict, word=UNDECIDED, notes=notes)


def list_undecided_contrasts(verdicts: Sequence[Verdict]) -> list[str]:
    """Lists the contrasts that more seeds could decide: `masker: block against random`.

    These are undecided pooled contrasts and, if a pooled one differs by combination, undecided ones
    within a combination. A contrast without a score on both sides, or that is undecided because of
    failed trials only, is left out.
    """
    pooled = [verdict for verdict in verdicts if verdict.contrast.family == "pooled"]
    differing = {get_level_key(v.contrast) for v in pooled if _is_interaction(v)}
    within = [
        verdict
        for verdict in verdicts
        if verdict.contrast.family == "within" and get_level_key(verdict.contrast) in differing
    ]
    names = []
    for verdict in (*pooled, *within):
        contrast, has_mean = verdict.contrast, verdict.estimate.mean is not None
        if has_mean and verdict.unrestricted_word == verdict.word == UNDECIDED:
            fixed = contrast.fixed_levels if contrast.family == "within" else ()
            where = f" with {', '.join(level for _, level in fixed)}" if fixed else ""
            names.append(f"{contrast.factor}: {contrast.level} against {contrast.against}{where}")
    return names


def _get_min_p(one: float | None, other: float | None) -> float | None:
    return min((p for p in (one, other) if p is not None), default=None)


def _is_interaction(verdict: Verdict) -> bool:
    return verdict.word.startswith("differs")
