"""Trials that turn out to be the same, once every default is written out.

Two levels can be written differently and mean the same; a factor can change nothing beside some
level of another. What is the same has one fingerprint and is run once.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from ablate.config.design import BASELINE
from ablate.config.study import StudyError
from ablate.core.records.plan import MergedFactors
from ablate.design.factors import Factor
from ablate.design.trials import PlannedTrial

Held = tuple[tuple[str, str], ...]  # the levels of all factors but one


def settle(
    varied: Iterable[Factor], trials: list[PlannedTrial]
) -> tuple[list[Factor], list[PlannedTrial]]:
    """Merges an added baseline level with the level that turns out to be the same.

    Returns the factors and the trials that are left. Raises `StudyError` where two levels that
    are written in the study are the same everywhere.
    """
    problems: list[str] = []
    settled = []
    for factor in varied:
        merged = factor
        for one, other in itertools.combinations(factor.levels, 2):
            if not _same(trials, factor.name, one, other):
                continue
            if one == BASELINE and factor.added:
                levels = {k: v for k, v in factor.levels.items() if k != BASELINE}
                baseline = other if factor.baseline == BASELINE else factor.baseline
                merged = dataclasses.replace(factor, levels=levels, baseline=baseline, added=False)
                trials = _renamed(trials, factor.name, one, other)
                break
            place = factor.levels[other].changes[0][1].place
            problem = f"levels `{one}` and `{other}` of factor `{factor.name}` are the same"
            problems.append(f"{place}: {problem} once their defaults are written out")
        settled.append(merged)
    if problems:
        raise StudyError(problems)
    return settled, trials


def merge(varied: Iterable[Factor], trials: list[PlannedTrial]) -> list[PlannedTrial]:
    """Takes a factor out of the trials that are the same whatever its level."""
    for factor in varied:
        groups: dict[tuple[Held, int], list[PlannedTrial]] = {}
        for trial in trials:
            groups.setdefault((_held(trial, factor.name), trial.seed), []).append(trial)
        kept: dict[int, PlannedTrial] = {}
        for (held, _), group in groups.items():
            having = [trial for trial in group if factor.name in trial.levels]
            if len(having) < 2 or len({trial.asks for trial in group}) > 1:
                kept |= {id(trial): trial for trial in group}
                continue
            count = sum(trial.stands_for for trial in group)
            kept[id(group[0])] = dataclasses.replace(group[0], levels=dict(held), stands_for=count)
        trials = [kept[id(trial)] for trial in trials if id(trial) in kept]
    return trials


def merged(varied: Sequence[Factor], trials: Sequence[PlannedTrial]) -> list[MergedFactors]:
    """Lists the factors that have no effect in some combinations, one entry per group."""
    firsts = [trial for trial in trials if trial.seed == trials[0].seed]
    groups: dict[tuple[str, ...], list[PlannedTrial]] = {}
    for trial in firsts:
        absent = tuple(factor.name for factor in varied if factor.name not in trial.levels)
        if trial.stands_for > 1:
            groups.setdefault(absent, []).append(trial)
    return [
        MergedFactors(
            factors=absent,
            where=_shared(group, firsts),
            cells=len(group),
            stand_for=sum(trial.stands_for for trial in group),
        )
        for absent, group in groups.items()
    ]


def duplicates(trials: Iterable[PlannedTrial]) -> list[tuple[str, ...]]:
    """Lists the variants that are left with one fingerprint: each is trained once for all."""
    found: dict[str, list[str]] = {}
    for trial in trials:
        found.setdefault(trial.fingerprint, []).append(trial.variant)
    groups = [tuple(names) for names in found.values() if len(names) > 1]
    return list(dict.fromkeys(groups))


def words(merged: MergedFactors) -> str:
    """Describes merged factors in one line."""
    names = ", ".join(f"`{name}`" for name in merged.factors)
    where = " and ".join(f"{name} is {label}" for name, label in merged.where.items())
    have = "has" if len(merged.factors) == 1 else "have"
    return (
        f"{merged.stand_for:,} combinations reduce to {merged.cells:,}: {names} {have} no "
        f"effect{f' where {where}' if where else ' there'}"
    )


def _shared(group: Sequence[PlannedTrial], trials: Sequence[PlannedTrial]) -> dict[str, str]:
    """Returns the levels that all of a group have, and not all trials."""
    shared = set.intersection(*(set(trial.levels.items()) for trial in group))
    everywhere = set.intersection(*(set(trial.levels.items()) for trial in trials))
    return {
        name: label
        for name, label in group[0].levels.items()
        if (name, label) in shared - everywhere
    }


def _same(trials: Iterable[PlannedTrial], name: str, one: str, other: str) -> bool:
    """Tells whether two levels lead to the same fingerprints wherever both are."""
    of: dict[str, dict[tuple[Held, int], tuple[str, str | None]]] = {one: {}, other: {}}
    for trial in trials:
        label = trial.levels.get(name)
        if label in of:
            of[label][_held(trial, name), trial.seed] = trial.asks
    both = of[one].keys() & of[other].keys()
    return bool(both) and all(of[one][key] == of[other][key] for key in both)


def _renamed(trials: list[PlannedTrial], name: str, one: str, other: str) -> list[PlannedTrial]:
    there = {(_held(t, name), t.seed) for t in trials if t.levels.get(name) == other}
    kept = []
    for trial in trials:
        if trial.levels.get(name) != one:
            kept.append(trial)
        elif (_held(trial, name), trial.seed) not in there:
            kept.append(dataclasses.replace(trial, levels={**trial.levels, name: other}))
    return kept


def _held(trial: PlannedTrial, name: str) -> Held:
    return tuple(pair for pair in trial.levels.items() if pair[0] != name)
