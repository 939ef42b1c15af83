"""Decides a family of contrasts at one look: corrected p-values, a verdict word and its notes.

A pooled word is replaced if there is an interaction. *Better*, *worse* and *equivalent* are
withheld if trials that failed, were pruned or could not be scored on one side only could have
caused them. Within a combination, words additionally pass a gate: the pooled contrast and its
interaction, Bonferroni-corrected for being two tests, must show some difference or, for
*equivalent*, equivalence or an interaction.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decision_rules import DecisionRules
from ablate.report.stats.notes import BELOW_MARGIN, UNDECIDED, list_notes
from ablate.report.stats.power import (
    SeedRange,
    compute_detectable_difference,
    estimate_further_seeds,
    estimate_study_seeds,
    get_max_further_seeds,
)
from ablate.report.stats.statistics import (
    Estimate,
    compute_effect_size,
    compute_equivalence_p,
    compute_gap_spread,
    compute_interaction_p,
    compute_seed_correlation,
    get_verdict_word,
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision of one contrast.

    All p-values but `estimate.p` are corrected for the family, and are the smallest of all looks.
    """

    contrast: Contrast
    estimate: Estimate  # difference in points
    interval_alpha: float  # error level of the estimate's interval
    effect_size: float | None  # Hedges' g
    p: float | None  # null hypothesis: no difference
    p_equivalent: float | None  # null hypothesis: the difference is at least the margin
    p_interaction: float | None  # null hypothesis: the difference is equal in all combinations
    seed_correlation: float | None  # Pearson's r of the two arms over seeds
    detectable: float | None  # smallest difference detected with 80 % power at this spread, points
    unrestricted_word: str  # the word if interactions and failed trials are ignored
    word: str  # better, worse, equivalent, undecided, or "differs by <factors>"
    num_further_seeds: int | None  # declared seeds that might settle an undecided contrast
    max_further_seeds: int  # `num_further_seeds` of one more means: more than this
    new_study: "NewStudy | None"  # a study on fresh seeds, of a contrast that is undecided
    decided_at: int | None  # number of seeds at the deciding look; None if seeds are fixed
    notes: tuple[str, ...]
    # if the contrast is by gain: the difference in final score, if it contradicts the word
    opposite_score: Estimate | None = None

    @cached_property
    def study_seeds(self) -> SeedRange | None:
        """Fresh seeds that a new study on an undecided contrast needs; computed when first read."""
        if self.new_study is None:
            return None
        return estimate_study_seeds(self.estimate, **dataclasses.asdict(self.new_study))

    @property
    def is_below_margin(self) -> bool:
        """Whether it is called better or worse although the difference is below the margin."""
        return any(note.startswith(BELOW_MARGIN) for note in self.notes)


@dataclass(frozen=True, kw_only=True)
class NewStudy:
    """How a new study would decide a contrast."""

    margin: float  # equivalence margin, in points
    alpha: float
    family: int  # contrasts that are corrected together


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The smallest p-values that a contrast within a combination may have."""

    difference: float = 0.0
    equivalence: float = 0.0
    detectable: float = 0.0  # a difference in one combination only that passes, in points


def decide_family(
    family: list[Contrast], rules: DecisionRules, gates: Mapping[tuple[str, str], Gate]
) -> Iterator[Verdict]:
    """Decides the contrasts of one family, which are corrected together.

    `gates` are the p-values that contrasts within a combination cannot go below.
    """
    estimates = [contrast.estimate(alpha=rules.look_alpha) for contrast in family]
    ps = rules.correct([estimate.p for estimate in estimates])
    ps_equivalent = rules.correct(
        [compute_equivalence_p(estimate, margin=rules.margin) for estimate in estimates]
    )
    ps_interaction = _test_interactions(family, rules)
    for contrast, estimate, p, p_equivalent in zip(
        family, estimates, ps, ps_equivalent, strict=True
    ):
        gate = gates[get_level_key(contrast)] if contrast.family == "within" else Gate()
        yield _decide_contrast(
            contrast,
            estimate,
            rules,
            p=p,
            p_equivalent=p_equivalent,
            p_interaction=ps_interaction.get(get_contrast_key(contrast)),
            gate=gate,
            family_size=len(family),
        )


def _decide_contrast(
    contrast: Contrast,
    estimate: Estimate,
    rules: DecisionRules,
    *,
    p: float | None,
    p_equivalent: float | None,
    p_interaction: float | None,
    gate: Gate,
    family_size: int,
) -> Verdict:
    """Decides one contrast from corrected p-values."""
    gated = None if p is None else max(p, gate.difference)
    is_blocked = p is not None and p < rules.alpha <= gate.difference
    p_equivalent = None if p_equivalent is None else max(p_equivalent, gate.equivalence)
    unrestricted = get_verdict_word(estimate, p=gated, p_equivalent=p_equivalent, alpha=rules.alpha)
    word = _restrict_word(unrestricted, contrast, p_interaction=p_interaction, alpha=rules.alpha)
    notes = [*list_notes(contrast, estimate, rules, unrestricted_word=unrestricted, word=word)]
    if is_blocked and word == UNDECIDED:
        notes.append(
            "no verdict here: the pooled contrast and its interaction together reach only "
            f"p {gate.difference:.3f}"
        )
    detectable = _compute_detectable(estimate, rules, family_size)
    is_open = unrestricted == word == UNDECIDED and not is_blocked
    return Verdict(
        contrast=contrast,
        estimate=estimate,
        interval_alpha=rules.look_alpha,
        effect_size=compute_effect_size(estimate),
        p=gated,
        p_equivalent=p_equivalent,
        p_interaction=p_interaction,
        seed_correlation=compute_seed_correlation(*_get_arm_values(contrast)),
        detectable=None if detectable is None else max(detectable, gate.detectable),
        unrestricted_word=unrestricted,
        word=word,
        num_further_seeds=_compute_further_seeds(estimate, rules, family_size) if is_open else None,
        new_study=NewStudy(margin=rules.margin, alpha=rules.alpha, family=family_size)
        if is_open and (rules.looks is None or not rules.looks.num_left)
        else None,
        max_further_seeds=0 if rules.looks is None else get_max_further_seeds(rules.looks),
        decided_at=rules.looks.seed_counts[-1] if rules.looks and word != UNDECIDED else None,
        notes=tuple(notes),
    )


def _test_interactions(
    family: Sequence[Contrast], rules: DecisionRules
) -> dict[tuple[object, ...], float | None]:
    """Tests whether contrasts depend on the combination; those with several are one family."""
    several = [contrast for contrast in family if len(contrast.pairs) > 1]
    ps = rules.correct(
        [compute_interaction_p([*contrast.differences_by_seed.values()]) for contrast in several]
    )
    return dict(zip(map(get_contrast_key, several), ps, strict=True))


def _compute_detectable(estimate: Estimate, rules: DecisionRules, family: int) -> float | None:
    if not estimate.spread or estimate.law is None or not rules.error_share:
        return None
    return compute_detectable_difference(
        estimate.spread,
        estimate.n,
        alpha=rules.look_alpha,
        family=family,
        levels=estimate.law.num_levels,
    )


def compute_gate(pooled: Verdict, rules: DecisionRules, family_size: int) -> Gate:
    """Computes the gate of the contrasts of a level within a combination.

    For a difference, the p-value of the null hypothesis that no combination has one; for
    equivalence, that all combinations are as far apart as the margin. Either is corrected by
    Bonferroni over the pooled contrast and its interaction. A difference in one combination only is
    diluted in the pooled contrast, and may be found by either.
    """
    num_pairs, estimate = len(pooled.contrast.pairs), pooled.estimate
    half = dataclasses.replace(rules, alpha=rules.alpha / 2)
    by_pooled = _compute_detectable(estimate, half, family_size)
    spread = compute_gap_spread([*pooled.contrast.differences_by_seed.values()])
    by_interaction = (
        compute_detectable_difference(
            spread,
            estimate.n,
            alpha=half.look_alpha,
            family=family_size * num_pairs * (num_pairs - 1) // 2,
        )
        if spread and num_pairs > 1 and rules.error_share
        else None
    )
    detectable = [num_pairs * by_pooled] if by_pooled else []
    return Gate(
        difference=_combine(pooled.p, pooled.p_interaction),
        equivalence=_combine(pooled.p_equivalent, pooled.p_interaction),
        detectable=min([*detectable, *([by_interaction] if by_interaction else [])], default=0.0),
    )


def _combine(*optional_ps: float | None) -> float:
    ps = [p for p in optional_ps if p is not None]
    return min(len(ps) * min(ps), 1.0) if ps else 1.0


def _compute_further_seeds(estimate: Estimate, rules: DecisionRules, family: int) -> int | None:
    if rules.looks is None or not get_max_further_seeds(rules.looks):
        return None  # seeds that were not declared would raise the error rate
    return estimate_further_seeds(
        estimate, margin=rules.margin, alpha=rules.alpha, family=family, looks=rules.looks
    )


def get_level_key(contrast: Contrast) -> tuple[str, str]:
    """Returns the key that a pooled contrast and its parts within combinations share."""
    return contrast.factor, contrast.level


def get_contrast_key(contrast: Contrast) -> tuple[object, ...]:
    """Returns the key that identifies a contrast at every look.

    The strongest baseline without training, and whether gains are compared, may change between
    looks; a word about one comparison says nothing about another.
    """
    compared = contrast.factor, contrast.level, contrast.against, contrast.measure
    return contrast.family, *compared, contrast.fixed_levels


def _restrict_word(
    word: str, contrast: Contrast, *, p_interaction: float | None, alpha: float
) -> str:
    """Replaces a word if there is an interaction, or if one side lost more trials."""
    if p_interaction is not None and p_interaction < alpha:
        return f"differs by {' and '.join(contrast.pooled_factors)}"
    lost, lost_against = contrast.lost_shares
    # the seeds that survive on an unstable side may be its best ones
    if word in ("better", "equivalent") and lost != lost_against:
        return UNDECIDED
    if word == "worse" and lost < lost_against:
        return UNDECIDED
    return word


def _get_arm_values(contrast: Contrast) -> tuple[list[list[float]], list[list[float]]]:
    """Returns the paired values of both arms, one list per combination."""
    paired = [list(pair.paired_values.values()) for pair in contrast.pairs]
    level = [[one for one, _ in values] for values in paired]
    against = [[other for _, other in values] for values in paired]
    return level, against
