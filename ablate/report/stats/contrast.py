"""Defines a contrast: two levels compared within combinations of factors, paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Literal

import numpy as np

from ablate.report.run import RunResult
from ablate.report.stats.residuals import ContrastSpread, estimate_spread
from ablate.report.stats.statistics import Estimate, estimate_mean

Measure = Literal["score", "gain"]
Levels = tuple[tuple[str, str], ...]  # (factor, level) of every fixed factor


@dataclass(frozen=True, kw_only=True)
class Term:
    """The score of a run, times a weight, as a part of a value."""

    weight: float
    run: RunResult
    probe_key: tuple[str, str]  # probe and pooling of the score


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a contrast within one combination of the other factors."""

    values: Mapping[int, float | None]  # seed -> score in percent, or gain in points
    num_failed: int  # failed trials
    num_lost: int  # trials that ended without a value: failed, pruned, cancelled or unscored
    settings: frozenset[tuple[str, str]]  # (name, value): device, precision, ranks, code, versions
    # seed -> final score in percent, whatever the values are
    scores: Mapping[int, float | None] = field(default_factory=dict, repr=False)
    # seed -> the scores that the value consists of
    terms: Mapping[int, tuple[Term, ...]] = field(default_factory=dict, repr=False)


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

    @cached_property
    def differences(self) -> dict[int, float]:
        """Level minus reference by seed, in points."""
        return {seed: one - other for seed, (one, other) in self.paired_values.items()}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison of two levels: is `level` better than `against`?"""

    family: Literal["pooled", "within", "learning", "untrained", "confirmation"]
    factor: str  # empty if whole variants are compared
    level: str
    against: str
    measure: Measure
    fixed_levels: Levels = ()  # levels of the other factors; empty if pooled over them
    pooled_factors: tuple[str, ...] = ()
    pairs: tuple[ArmPair, ...] = field(repr=False)  # one per combination
    # every other level of the factor: one arm per combination
    others: Mapping[str, tuple[Arm, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def differences_by_seed(self) -> dict[int, list[float]]:
        """The difference in each combination, in points, for every seed that has all combinations.

        A combination without any pair of scores (nothing ran, or all trials failed) is left out.
        """
        pairs = [differences for pair in self.pairs if (differences := pair.differences)]
        shared = [seed for seed in pairs[0] if all(seed in p for p in pairs)] if pairs else []
        return {seed: [differences[seed] for differences in pairs] for seed in shared}

    @cached_property
    def differences(self) -> dict[int, float]:
        """The mean difference over combinations by seed, in points.

        Seeds are the unit of replication: the combinations of one seed share the data order and
        the random-init encoders, so they are not independent.
        """
        return {seed: fmean(values) for seed, values in self.differences_by_seed.items()}

    @property
    def by_score(self) -> "Contrast":
        """The same comparison by the final scores of the trained encoders."""

        def rescore(arm: Arm) -> Arm:
            return replace(arm, values=arm.scores)

        return replace(
            self,
            measure="score",
            pairs=tuple(ArmPair(rescore(pair.level), rescore(pair.against)) for pair in self.pairs),
            others={name: tuple(map(rescore, arms)) for name, arms in self.others.items()},
        )

    def estimate(self, *, alpha: float) -> Estimate:
        """Estimates the mean difference, with the residuals of all levels if these may be used."""
        return estimate_mean([*self.differences.values()], alpha=alpha, pooled=self._pool_spread())

    def _pool_spread(self) -> ContrastSpread | None:
        """Estimates the spread of the differences from all levels that have the same seeds."""
        seeds = [*self.differences]
        if not seeds or not all(pair.differences for pair in self.pairs):
            return None
        rows = [_average_arms(arms, seeds) for arms in (*self._sides, *self.others.values())]
        complete = [row for row in rows if row is not None]
        return estimate_spread(np.array(complete))

    @property
    def incomplete_levels(self) -> dict[str, list[int]]:
        """Other levels that the error leaves out -> the seeds on which they have no score."""
        missing = {
            name: [s for s in self.differences if any(arm.values.get(s) is None for arm in arms)]
            for name, arms in self.others.items()
        }
        return {name: seeds for name, seeds in missing.items() if seeds}

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
