"""The contrasts of a study: which levels are compared, within which combinations, on which seeds.

Each level is compared with the baseline level of its own factor, within every combination of the
other factors. A single baseline variant for all would confound the factors: *block on strips
against random on squares* mostly shows the effect of the patches. If a factor changes the
random-init encoder (patchifier, front end, encoder), the arms are compared by their gain, which is
the score minus the score of the same encoder at random init.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Literal

import numpy as np

from ablate.report.results import (
    PENDING_STATES,
    Results,
    TrialResult,
    format_variant,
    get_levels,
)
from ablate.report.run import RunResult
from ablate.report.stats.residuals import ContrastSpread, estimate_spread
from ablate.report.stats.statistics import Estimate, estimate_mean

Measure = Literal["score", "gain"]
Levels = tuple[tuple[str, str], ...]  # (factor, level) of every fixed factor


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a contrast within one combination of the other factors."""

    values: Mapping[int, float | None]  # seed -> score in percent, or gain in points
    num_failed: int  # failed trials
    num_lost: int  # trials that ended without a value: failed, pruned, cancelled or unscored
    settings: frozenset[tuple[str, str]]  # (name, value): device, precision, ranks, code, versions


@dataclass(frozen=True)
class ArmPair:
    """The two arms of one combination; only seeds that have a score in both arms are used."""

    level: Arm
    against: Arm

    @cached_property
    def paired_values(self) -> dict[int, tuple[float, float]]:
        """The values of both arms by seed, for the seeds that have both."""
        values = {}
        for seed in sorted(self.level.values.keys() & self.against.values.keys()):
            one, other = self.level.values[seed], self.against.values[seed]
            if one is not None and other is not None:
                values[seed] = (one, other)
        return values

    @property
    def differences(self) -> dict[int, float]:
        """Level minus reference by seed, in points."""
        return {seed: one - other for seed, (one, other) in self.paired_values.items()}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison of two levels: is `level` better than `against`?"""

    family: Literal["pooled", "within", "learning", "confirmation"]
    factor: str  # empty if whole variants are compared
    level: str
    against: str
    measure: Measure
    fixed_levels: Levels = ()  # levels of the other factors; empty if pooled over them
    pooled_factors: tuple[str, ...] = ()
    pairs: tuple[ArmPair, ...] = field(repr=False)  # one per combination
    # every other level of the factor: one arm per combination
    others: tuple[tuple[Arm, ...], ...] = field(default=(), repr=False)

    @property
    def differences_by_seed(self) -> dict[int, list[float]]:
        """The difference in each combination, in points, for every seed that has all combinations.

        A combination without any pair of scores (nothing ran, or all trials failed) is left out.
        """
        pairs = [differences for pair in self.pairs if (differences := pair.differences)]
        shared = [seed for seed in pairs[0] if all(seed in p for p in pairs)] if pairs else []
        return {seed: [differences[seed] for differences in pairs] for seed in shared}

    @property
    def differences(self) -> dict[int, float]:
        """The mean difference over combinations by seed, in points.

        Seeds are the unit of replication: the combinations of one seed share the data order and
        the random-init encoders, so they are not independent.
        """
        return {seed: fmean(values) for seed, values in self.differences_by_seed.items()}

    def estimate(self, *, alpha: float) -> Estimate:
        """Estimates the mean difference, with the residuals of all levels if these may be used."""
        return estimate_mean([*self.differences.values()], alpha=alpha, pooled=self._pool_spread())

    def _pool_spread(self) -> ContrastSpread | None:
        """Estimates the spread of the differences from all levels that have the same seeds."""
        seeds = [*self.differences]
        if not seeds or not all(pair.differences for pair in self.pairs):
            return None
        rows = [_average_arms(arms, seeds) for arms in (*self._sides, *self.others)]
        complete = [row for row in rows if row is not None]
        return estimate_spread(np.array(complete))

    @property
    def num_planned_seeds(self) -> int:
        """The number of seeds that the contrast would have if every trial had a score."""
        arms = [arm for pair in self.pairs for arm in (pair.level, pair.against)]
        return len({seed for arm in arms for seed in arm.values})

    @property
    def failure_counts(self) -> tuple[int, int]:
        """The failed trials of (level, against)."""
        level, against = self._sides
        return sum(arm.num_failed for arm in level), sum(arm.num_failed for arm in against)

    @property
    def lost_counts(self) -> tuple[int, int]:
        """The trials of (level, against) that ended without a value."""
        level, against = self._sides
        return sum(arm.num_lost for arm in level), sum(arm.num_lost for arm in against)

    @property
    def lost_shares(self) -> tuple[float, float]:
        """The shares of the planned trials of (level, against) that ended without a value."""
        level, against = (sum(len(arm.values) for arm in side) for side in self._sides)
        lost, lost_against = self.lost_counts
        return lost / level, lost_against / against

    @property
    def _sides(self) -> tuple[list[Arm], list[Arm]]:
        return [pair.level for pair in self.pairs], [pair.against for pair in self.pairs]


def _average_arms(arms: Sequence[Arm], seeds: Sequence[int]) -> list[float] | None:
    """Averages arms over combinations, one number per seed; None if a score is missing."""
    averages = []
    for seed in seeds:
        values = [value for arm in arms if (value := arm.values.get(seed)) is not None]
        if len(values) < len(arms):
            return None
        averages.append(fmean(values))
    return averages


def list_contrasts(results: Results) -> list[Contrast]:
    """Lists all contrasts of a study, family by family: pooled, within, learning, confirmation.

    If two levels are compared in a single combination, there is a pooled contrast only.
    """
    contrasts = list(_list_factor_contrasts(results, gains=True))
    pooled = [contrast for contrast in contrasts if contrast.family == "pooled"]
    within = [contrast for contrast in contrasts if contrast.family == "within"]
    return [
        *pooled,
        *within,
        *_list_learning_contrasts(results),
        *_list_confirmation_contrasts(results),
    ]


def list_score_contrasts(results: Results) -> list[Contrast]:
    """Lists the pooled contrasts that are judged by gain, compared by score instead.

    The gain is what training adds; to choose an encoder, the final score matters as well.
    """
    contrasts = _list_factor_contrasts(results, gains=False)
    return [c for c in contrasts if c.family == "pooled" and changes_random_init(results, c.factor)]


def changes_random_init(results: Results, factor: str) -> bool:
    """Checks whether the levels of a factor have different random-init encoders, all else equal.

    Scores of such levels start from different values, so their gains are compared instead.
    """
    fingerprints: dict[tuple[Levels, int], set[str]] = {}
    for trial in results.trials:
        key = (_get_fixed_levels(results, trial, factor), trial.seed)
        fingerprints.setdefault(key, set()).add(trial.plan.random_init)
    return any(len(different) > 1 for different in fingerprints.values())


def _list_factor_contrasts(results: Results, *, gains: bool) -> Iterator[Contrast]:
    """Yields the pooled contrasts of all factors, each followed by those within a combination.

    With `gains`, factors that change the random-init encoder are compared by gain.
    """
    for factor, levels in results.plan.factors.items():
        against = results.plan.baseline[factor]
        measure: Measure = "gain" if gains and changes_random_init(results, factor) else "score"
        cells = {
            held: {level: _build_arm(trials, measure) for level, trials in cell.items()}
            for held, cell in _group_cells(results, factor).items()
        }
        for level in (level for level in levels if level != against):
            pairs = {
                held: ArmPair(cell[level], cell[against])
                for held, cell in cells.items()
                if level in cell and against in cell
            }
            if not pairs:
                continue  # no combination of this design has both levels
            rest = [name for name in levels if name not in (level, against)]
            yield Contrast(
                family="pooled",
                factor=factor,
                level=level,
                against=against,
                measure=measure,
                fixed_levels=next(iter(pairs)) if len(pairs) == 1 else (),
                pooled_factors=_find_varying_factors(pairs),
                pairs=tuple(pairs.values()),
                others=tuple(
                    tuple(cells[held][name] for held in pairs)
                    for name in rest
                    if all(name in cells[held] for held in pairs)
                ),
            )
            for held, pair in pairs.items():
                if len(pairs) > 1:  # with a single combination, the pooled contrast is the same
                    yield Contrast(
                        family="within",
                        factor=factor,
                        level=level,
                        against=against,
                        measure=measure,
                        fixed_levels=held,
                        pairs=(pair,),
                        others=tuple((cells[held][name],) for name in rest if name in cells[held]),
                    )


def _list_learning_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields the contrasts of the trained baseline encoder with itself at random init."""
    baseline = results.plan.baseline
    varied = [factor for factor in results.factors if changes_random_init(results, factor)]
    fixed = [factor for factor in results.factors if factor not in varied]
    combinations: dict[Levels, list[TrialResult]] = {}
    for trial in results.trials:
        if all(trial.levels.get(factor, baseline[factor]) == baseline[factor] for factor in fixed):
            held = tuple((f, trial.levels[f]) for f in varied if f in trial.levels)
            combinations.setdefault(held, []).append(trial)
    for held, trials in combinations.items():
        random_init = Arm(
            values={trial.seed: trial.random_init_score for trial in trials},
            num_failed=sum(trial.random_init.state == "failed" for trial in trials),
            num_lost=sum(
                trial.random_init_score is None and trial.random_init.state not in PENDING_STATES
                for trial in trials
            ),
            settings=_collect_settings(trial.random_init for trial in trials),
        )
        yield Contrast(
            family="learning",
            factor="",
            level="trained",
            against="random init",
            measure="score",
            fixed_levels=held,
            pairs=(ArmPair(_build_arm(trials, "score"), random_init),),
        )


def _list_confirmation_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields each selected variant against the baseline, on seeds not used for the selection."""
    baseline = results.plan.baseline
    variants: dict[tuple[str, ...], list[TrialResult]] = {}
    against: list[TrialResult] = []
    for trial in results.confirmation_trials:
        # a factor that does not apply to a trial counts as at its baseline level
        is_baseline = all(
            trial.levels.get(factor, level) == level for factor, level in baseline.items()
        )
        levels = get_levels(trial, results.factors)
        (against if is_baseline else variants.setdefault(levels, [])).append(trial)
    for levels, trials in variants.items() if against else ():
        varied = [
            f
            for f, level in zip(results.factors, levels, strict=True)
            if level not in (baseline[f], "-")
        ]
        by_gain = any(changes_random_init(results, factor) for factor in varied)
        measure: Measure = "gain" if by_gain else "score"
        yield Contrast(
            family="confirmation",
            factor="",
            level=format_variant(levels),
            against=format_variant(tuple(baseline.values())),
            measure=measure,
            pairs=(ArmPair(_build_arm(trials, measure), _build_arm(against, measure)),),
        )


def _group_cells(results: Results, factor: str) -> dict[Levels, dict[str, list[TrialResult]]]:
    cells: dict[Levels, dict[str, list[TrialResult]]] = {}
    for trial in results.trials:
        if factor in trial.levels:
            cell = cells.setdefault(_get_fixed_levels(results, trial, factor), {})
            cell.setdefault(trial.levels[factor], []).append(trial)
    return cells


def _build_arm(trials: Sequence[TrialResult], measure: Measure) -> Arm:
    values = {t.seed: t.score if measure == "score" else t.gain for t in trials}
    return Arm(
        values=values,
        num_failed=sum(trial.failed for trial in trials),
        num_lost=sum(trial.has_ended and values[trial.seed] is None for trial in trials),
        settings=_collect_settings(trial.run for trial in trials),
    )


def _collect_settings(runs: Iterable[RunResult]) -> frozenset[tuple[str, str]]:
    """Collects what runs were made with: kind of device, precision, ranks, code and versions.

    A setting that a run did not record is left out: a random init has no precision and no ranks.
    """
    collected = set()
    for run in runs:
        record = run.record
        settings: dict[str, object] = {"precision": record.precision, "ranks": record.ranks}
        settings["device"] = (record.device or "").partition(":")[0]
        settings["code"] = run.code
        settings["versions"] = sorted(record.versions.items())
        collected |= {(name, str(value)) for name, value in settings.items() if value}
    return frozenset(collected)


def _get_fixed_levels(results: Results, trial: TrialResult, factor: str) -> Levels:
    """Returns the trial's levels of all factors but one.

    A factor that does not apply to the trial counts as at its baseline level: a trial without a
    projector is compared with the one whose projector has the baseline size.
    """
    levels = {**results.plan.baseline, **trial.levels}
    return tuple((name, levels[name]) for name in results.factors if name != factor)


def _find_varying_factors(combinations: Iterable[Levels]) -> tuple[str, ...]:
    """Returns the factors whose level differs between combinations."""
    seen: dict[str, set[str]] = {}
    for held in combinations:
        for name, level in held:
            seen.setdefault(name, set()).add(level)
    return tuple(name for name, levels in seen.items() if len(levels) > 1)
