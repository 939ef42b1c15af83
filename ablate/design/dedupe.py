"""Finds trials that are the same once every default is written out, so that each is run once.

Two levels can be written differently and have the same settings, and a factor can have no effect
beside some level of another factor. Such trials have the same fingerprint.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from ablate.config.design import BASELINE
from ablate.config.study import StudyError
from ablate.core.records.plan import MergedFactors
from ablate.design.factors import Factor
from ablate.design.trials import PlannedTrial

OtherLevels = tuple[tuple[str, str], ...]  # factor and label, of all factors but one


def merge_equal_levels(
    varied: Iterable[Factor], trials: list[PlannedTrial]
) -> tuple[list[Factor], list[PlannedTrial]]:
    """Merges each added baseline level with a level that has the same fingerprints.

    Args:
        varied: the factors of the study.
        trials: its trials, resolved by a worker.

    Returns:
        The factors and the trials that are left.

    Raises:
        StudyError: two levels that the study names have the same settings.
    """
    problems: list[str] = []
    factors = []
    for factor in varied:
        kept = factor
        for one, other in itertools.combinations(factor.levels, 2):
            if not _are_equal(trials, factor.name, one, other):
                continue
            if one == BASELINE and factor.added:
                levels = {k: v for k, v in factor.levels.items() if k != BASELINE}
                baseline = other if factor.baseline == BASELINE else factor.baseline
                kept = dataclasses.replace(factor, levels=levels, baseline=baseline, added=False)
                trials = _replace_level(trials, factor.name, one, other)
                break
            place = factor.levels[other].changes[0][1].place
            problem = f"levels `{one}` and `{other}` of factor `{factor.name}` are the same"
            problems.append(f"{place}: {problem} once their defaults are written out")
        factors.append(kept)
    if problems:
        raise StudyError(problems)
    return factors, trials


def drop_idle_factors(varied: Iterable[Factor], trials: list[PlannedTrial]) -> list[PlannedTrial]:
    """Merges trials that differ only in a factor without effect; they lose that factor."""
    for factor in varied:
        groups: dict[tuple[OtherLevels, int], list[PlannedTrial]] = {}
        for trial in trials:
            groups.setdefault((_get_others(trial, factor.name), trial.seed), []).append(trial)
        kept: dict[int, PlannedTrial] = {}
        for (others, _), group in groups.items():
            num_varied = sum(factor.name in trial.levels for trial in group)
            if num_varied < 2 or len({trial.result_key for trial in group}) > 1:
                kept |= {id(trial): trial for trial in group}
                continue
            count = sum(trial.num_combinations for trial in group)
            kept[id(group[0])] = dataclasses.replace(
                group[0], levels=dict(others), num_combinations=count
            )
        trials = [kept[id(trial)] for trial in trials if id(trial) in kept]
    return trials


def list_merged_factors(
    varied: Sequence[Factor], trials: Sequence[PlannedTrial]
) -> list[MergedFactors]:
    """Lists the factors that have no effect in some combinations, one entry per group."""
    firsts = [trial for trial in trials if trial.seed == trials[0].seed]
    groups: dict[tuple[str, ...], list[PlannedTrial]] = {}
    for trial in firsts:
        absent = tuple(factor.name for factor in varied if factor.name not in trial.levels)
        if trial.num_combinations > 1:
            groups.setdefault(absent, []).append(trial)
    return [
        MergedFactors(
            factors=absent,
            where=_find_distinctive_levels(group, firsts),
            num_kept=len(group),
            num_combinations=sum(trial.num_combinations for trial in group),
        )
        for absent, group in groups.items()
    ]


def find_duplicates(trials: Iterable[PlannedTrial]) -> list[tuple[str, ...]]:
    """Finds groups of variants that have the same fingerprint; each group is trained once."""
    variants: dict[str, list[str]] = {}
    for trial in trials:
        variants.setdefault(trial.fingerprint, []).append(trial.variant)
    groups = [tuple(names) for names in variants.values() if len(names) > 1]
    return list(dict.fromkeys(groups))


def format_merged_factors(merged: MergedFactors) -> str:
    """Formats merged factors as one line."""
    names = ", ".join(f"`{name}`" for name in merged.factors)
    where = " and ".join(f"{name} is {label}" for name, label in merged.where.items())
    have = "has" if len(merged.factors) == 1 else "have"
    counts = f"{merged.num_combinations:,} combinations reduce to {merged.num_kept:,}"
    return f"{counts}: {names} {have} no effect{f' where {where}' if where else ' there'}"


def _find_distinctive_levels(
    group: Sequence[PlannedTrial], trials: Sequence[PlannedTrial]
) -> dict[str, str]:
    """Returns the levels that all trials of a group have, but not all trials of the study."""
    shared = set.intersection(*(set(trial.levels.items()) for trial in group))
    everywhere = set.intersection(*(set(trial.levels.items()) for trial in trials))
    return {
        name: label
        for name, label in group[0].levels.items()
        if (name, label) in shared - everywhere
    }


def _are_equal(trials: Iterable[PlannedTrial], name: str, one: str, other: str) -> bool:
    """Returns whether two levels have the same fingerprints wherever both occur."""
    keys: dict[str, dict[tuple[OtherLevels, int], tuple[str, str | None]]] = {one: {}, other: {}}
    for trial in trials:
        label = trial.levels.get(name)
        if label in keys:
            keys[label][_get_others(trial, name), trial.seed] = trial.result_key
    both = keys[one].keys() & keys[other].keys()
    return bool(both) and all(keys[one][key] == keys[other][key] for key in both)


def _replace_level(
    trials: list[PlannedTrial], name: str, one: str, other: str
) -> list[PlannedTrial]:
    """Renames level `one` to `other`; drops the trials that `other` has already."""
    existing = {(_get_others(t, name), t.seed) for t in trials if t.levels.get(name) == other}
    kept = []
    for trial in trials:
        if trial.levels.get(name) != one:
            kept.append(trial)
        elif (_get_others(trial, name), trial.seed) not in existing:
            kept.append(dataclasses.replace(trial, levels={**trial.levels, name: other}))
    return kept


def _get_others(trial: PlannedTrial, name: str) -> OtherLevels:
    return tuple(pair for pair in trial.levels.items() if pair[0] != name)
