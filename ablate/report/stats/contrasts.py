"""Which arms are held against which, and which seeds they share.

A level meets the baseline level of its own factor, within every combination of the other
factors. One baseline cell for all would mix the factors: *block on strips against random on
squares* is mostly the patch. Where a factor changes the random-init twin (patchifier, front
end, encoder), the arms are compared by their gain over their own twin.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Literal

from ablate.report.results import Results, TrialResult, format_variant, get_levels
from ablate.report.run import RunResult

Measure = Literal["score", "gain"]
Levels = tuple[tuple[str, str], ...]  # (factor, level) of every factor that is held fixed


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a contrast within one combination: what each seed gave, if anything."""

    values: Mapping[int, float | None]  # seed -> score in percent, or gain in points
    failed: int  # trials
    settings: frozenset[tuple[str, str]]  # (what, value) of what made the scores


@dataclass(frozen=True)
class ArmPair:
    """The two arms of one combination; only seeds that both have count."""

    level: Arm
    against: Arm

    @cached_property
    def paired_values(self) -> dict[int, tuple[float, float]]:
        """Returns both values of every seed that has both."""
        values = {}
        for seed in sorted(self.level.values.keys() & self.against.values.keys()):
            one, other = self.level.values[seed], self.against.values[seed]
            if one is not None and other is not None:
                values[seed] = (one, other)
        return values

    @property
    def differences(self) -> dict[int, float]:
        """Returns level less against, in points, by seed."""
        return {seed: one - other for seed, (one, other) in self.paired_values.items()}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A question put to the study: is this level better than that one?"""

    family: Literal["pooled", "within", "learning", "confirmation"]
    factor: str  # empty where whole variants are compared
    level: str
    against: str
    measure: Measure
    fixed_levels: Levels = ()  # what was held fixed; empty when pooled over it
    pooled_factors: tuple[str, ...] = ()  # the factors pooled over
    pairs: tuple[ArmPair, ...] = field(repr=False)  # one a combination

    @property
    def differences_by_seed(self) -> dict[int, list[float]]:
        """Returns, of every seed that has all combinations, the difference in each, in points.

        A combination that no seed has, because nothing ran there or all failed, is left out.
        """
        found = [differences for pair in self.pairs if (differences := pair.differences)]
        shared = [seed for seed in found[0] if all(seed in of for of in found)] if found else []
        return {seed: [of[seed] for of in found] for seed in shared}

    @property
    def differences(self) -> dict[int, float]:
        """Returns each seed's mean difference over combinations, in points.

        Seeds are the unit of replication: the combinations of one seed share data order and
        random-init twins, and so are not independent.
        """
        return {seed: fmean(of) for seed, of in self.differences_by_seed.items()}

    @property
    def num_planned_seeds(self) -> int:
        """Counts the seeds that there would be if every trial had a score."""
        arms = [arm for pair in self.pairs for arm in (pair.level, pair.against)]
        return len({seed for arm in arms for seed in arm.values})

    @property
    def failure_counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Counts the failed and the planned trials, of the level and of what it is held against."""
        arms = [pair.level for pair in self.pairs], [pair.against for pair in self.pairs]
        level, against = (sum(arm.failed for arm in of) for of in arms)
        planned, planned_against = (sum(len(arm.values) for arm in of) for of in arms)
        return (level, against), (planned, planned_against)


def list_contrasts(results: Results) -> list[Contrast]:
    """Lists every contrast, family by family: pooled, within, learning, confirmation.

    Of a factor whose two levels meet in one combination alone there is only a pooled contrast.
    """
    found = list(_list_factor_contrasts(results, gains=True))
    pooled = [contrast for contrast in found if contrast.family == "pooled"]
    within = [contrast for contrast in found if contrast.family == "within"]
    return [
        *pooled,
        *within,
        *_list_learning_contrasts(results),
        *_list_confirmation_contrasts(results),
    ]


def list_score_contrasts(results: Results) -> list[Contrast]:
    """Lists the pooled contrasts of gains once more, by the scores that the encoders end with.

    A gain tells what training adds; whoever picks an encoder also asks which one scores more.
    """
    found = _list_factor_contrasts(results, gains=False)
    return [c for c in found if c.family == "pooled" and changes_random_init(results, c.factor)]


def changes_random_init(results: Results, factor: str) -> bool:
    """Says whether a factor's levels have different random-init twins, all else being equal.

    Scores of such levels start from different values, so that their gains are compared instead.
    """
    twins: dict[tuple[Levels, int], set[str]] = {}
    for trial in results.trials:
        if trial.plan.get("twin"):
            key = (_get_fixed_levels(results, trial, factor), trial.seed)
            twins.setdefault(key, set()).add(trial.plan["twin"])
    return any(len(found) > 1 for found in twins.values())


def _list_factor_contrasts(results: Results, *, gains: bool) -> Iterator[Contrast]:
    """Yields pooled contrasts and their parts, by gain where `gains` and the twins differ."""
    for factor, levels in results.plan["factors"].items():
        against = str(results.plan["baseline"][factor])
        measure: Measure = "gain" if gains and changes_random_init(results, factor) else "score"
        cells = _group_cells(results, factor)
        for level in (str(level) for level in levels if str(level) != against):
            pairs = {
                held: ArmPair(_build_arm(cell[level], measure), _build_arm(cell[against], measure))
                for held, cell in cells.items()
                if level in cell and against in cell
            }
            if not pairs:
                continue  # this design never puts the two side by side
            yield Contrast(
                family="pooled",
                factor=factor,
                level=level,
                against=against,
                measure=measure,
                fixed_levels=next(iter(pairs)) if len(pairs) == 1 else (),
                pooled_factors=_find_varying_factors(pairs),
                pairs=tuple(pairs.values()),
            )
            for held, pair in pairs.items():
                if len(pairs) > 1:  # of one combination, the pooled contrast already is it
                    yield Contrast(
                        family="within",
                        factor=factor,
                        level=level,
                        against=against,
                        measure=measure,
                        fixed_levels=held,
                        pairs=(pair,),
                    )


def _list_learning_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields *did it learn at all*: the trained encoder against its own random-init twin."""
    baseline = {factor: str(level) for factor, level in results.plan["baseline"].items()}
    varied = [factor for factor in results.factors if changes_random_init(results, factor)]
    fixed = [factor for factor in results.factors if factor not in varied]
    combinations: dict[Levels, list[TrialResult]] = {}
    for trial in results.trials:
        if all(trial.levels.get(factor, baseline[factor]) == baseline[factor] for factor in fixed):
            held = tuple((f, trial.levels[f]) for f in varied if f in trial.levels)
            combinations.setdefault(held, []).append(trial)
    for held, trials in combinations.items():
        twin = Arm(
            values={trial.seed: trial.random_init_score for trial in trials},
            failed=sum(trial.random_init.state == "failed" for trial in trials),
            settings=_collect_settings(trial.random_init for trial in trials),
        )
        yield Contrast(
            family="learning",
            factor="",
            level="trained",
            against="random init",
            measure="score",
            fixed_levels=held,
            pairs=(ArmPair(_build_arm(trials, "score"), twin),),
        )


def _list_confirmation_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields each chosen variant against the baseline, on the seeds that did not choose it."""
    baseline = {factor: str(level) for factor, level in results.plan["baseline"].items()}
    variants: dict[tuple[str, ...], list[TrialResult]] = {}
    against: list[TrialResult] = []
    for (
        trial
    ) in results.confirmation_trials:  # a factor that means nothing in a trial is at its baseline
        usual = all(trial.levels.get(factor, level) == level for factor, level in baseline.items())
        levels = get_levels(trial, results.factors)
        (against if usual else variants.setdefault(levels, [])).append(trial)
    for levels, trials in variants.items() if against else ():
        varied = [
            f
            for f, level in zip(results.factors, levels, strict=True)
            if level not in (baseline[f], "-")
        ]
        gain = any(changes_random_init(results, factor) for factor in varied)
        measure: Measure = "gain" if gain else "score"
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
    return Arm(
        values={trial.seed: trial.score if measure == "score" else trial.gain for trial in trials},
        failed=sum(trial.failed for trial in trials),
        settings=_collect_settings(trial.run for trial in trials),
    )


def _collect_settings(runs: Iterable[RunResult]) -> frozenset[tuple[str, str]]:
    """Returns what computed the numbers; `cuda:0` and `cuda:1` are one kind of device.

    A random init was never trained and so has no precision and no ranks to differ in.
    """
    found = set()
    for run in runs:
        record = run.record
        told: dict[str, object] = {"precision": record.precision, "ranks": record.ranks}
        told["device"] = (record.device or "").partition(":")[0]
        told["code"] = run.code
        told["versions"] = sorted(record.versions.items())
        found |= {(name, str(of)) for name, of in told.items() if of}
    return frozenset(found)


def _get_fixed_levels(results: Results, trial: TrialResult, factor: str) -> Levels:
    """Returns the levels that are held fixed; a factor that means nothing is at the baseline's.

    A trial without a projector so meets the one whose projector has the baseline's size.
    """
    whole = {**results.plan["baseline"], **trial.levels}
    return tuple((name, str(whole[name])) for name in results.factors if name != factor)


def _find_varying_factors(combinations: Iterable[Levels]) -> tuple[str, ...]:
    """Returns the factors that are not the same in all combinations."""
    seen: dict[str, set[str]] = {}
    for held in combinations:
        for name, level in held:
            seen.setdefault(name, set()).add(level)
    return tuple(name for name, levels in seen.items() if len(levels) > 1)
