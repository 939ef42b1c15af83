"""Builds the trials of a study: every combination of levels with every seed.

A level replaces the whole branch of the baseline at its path. Trials are ordered by seed, so that a
study that is stopped early has complete comparisons. A worker validates them and adds fingerprints.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.config.design import BASELINE
from ablate.config.factors import PROBE
from ablate.config.study import Study, StudyError
from ablate.core.nested import set_nested
from ablate.core.records.planning import ResolvedTrial, TrialReply
from ablate.design.factors import AND, Changes, Factor, Path
from ablate.design.grid import Levels, enumerate_combinations

MAX_TRIALS = 100_000


@dataclass(frozen=True)
class PlannedTrial:
    """One variant and one seed."""

    levels: Levels  # factor -> label, without factors that have no effect beside the others
    seed: int
    settings: dict[str, Any]  # as written; once it is resolved, with every default
    fingerprint: str = ""  # empty until it is resolved
    resolved: ResolvedTrial | None = None  # a worker's reply
    changes: Changes = ()  # branches that replace those of the baseline, outer ones first
    num_combinations: int = 1  # combinations of the design that this trial replaces
    probe: str | None = None  # the probe that scores it; None: that of the study's score
    crosses: bool = False  # shares a varied seed with another trial, so it enters no verdict

    def get_resolved(self) -> ResolvedTrial:
        """Returns the worker's reply about this trial, which must have been resolved."""
        assert self.resolved is not None, "a worker has not validated this trial yet"
        return self.resolved

    @property
    def result_key(self) -> tuple[str, str | None]:
        """The fingerprint and the probe: trials that agree in both have the same scores."""
        return self.fingerprint, self.probe

    @property
    def variant(self) -> str:
        """The name of the variant: the labels of its levels."""
        return join_labels(self.levels.values())

    @property
    def inner(self) -> list[Path]:
        """Paths of settings that a level changes inside the branch of another level."""
        paths = [path for path, _ in self.changes]
        return [p for p in paths if any(p != other and p[: len(other)] == other for other in paths)]


def build_trials(study: Study, varied: Sequence[Factor]) -> list[PlannedTrial]:
    """Builds every combination of the design with every seed.

    Raises `StudyError` if there are more than `MAX_TRIALS`, and as `enumerate_combinations`.
    """
    combinations = enumerate_combinations(study.design, varied)
    counts = len(combinations), len(study.all_seeds)
    if math.prod(counts) > MAX_TRIALS:
        amount = f"{counts[0]} variants with {counts[1]} seeds are {math.prod(counts)} trials"
        raise StudyError([f"{amount}; a study has {MAX_TRIALS} at most"])
    baseline = study.baseline.plain()
    return [
        _build_trial(study, baseline, varied, levels, count, seed)
        for seed in study.all_seeds
        for levels, count in combinations
    ]


def resolve_trials(
    trials: Iterable[PlannedTrial], replies: Iterable[TrialReply]
) -> list[PlannedTrial]:
    """Adds a worker's replies: fingerprints, settings with every default, and facts."""
    resolved = []
    for trial, reply in zip(trials, replies, strict=True):
        entry = reply.trial
        assert entry is not None, "trials with problems are not resolved"
        resolved.append(
            dataclasses.replace(
                trial, settings=entry.settings, fingerprint=entry.fingerprint, resolved=entry
            )
        )
    return resolved


def get_setting_label(levels: Mapping[str, str], setting: str) -> str:
    """Returns the labels of the levels that vary a setting: `block`, or `0.4, 2` of two factors."""
    labels = [
        label
        for name, label in levels.items()
        if setting in {member.split(".")[0] for member in name.split(AND)}
    ]
    return ", ".join(labels).replace("/", "-") or BASELINE


def format_trial_problems(
    study: Study, trials: Sequence[PlannedTrial], replies: Sequence[TrialReply]
) -> list[str]:
    """Formats the problems that a worker reported, each once, as `file:line: message`.

    If only some variants have a problem, the message names them.
    """
    variants: set[str] = set()
    affected: dict[str, dict[str, None]] = {}  # message -> its variants, in order
    for trial, reply in zip(trials, replies, strict=True):
        variants.add(trial.variant)
        for problem in reply.problems:
            text = f"{find_place(study, trial, problem.path)}: {problem}"
            affected.setdefault(text, {})[trial.variant] = None
    return [
        *(
            text if len(names) == len(variants) else f"{text} (in {'; '.join(names)})"
            for text, names in affected.items()
        ),
        *_find_unknown_settings(study, trials, replies),
    ]


def _find_unknown_settings(
    study: Study, trials: Sequence[PlannedTrial], replies: Sequence[TrialReply]
) -> list[str]:
    """Finds settings inside the levels of another factor that none of these levels has."""
    places: dict[Path, str] = {}
    accepted: set[Path] = set()
    for trial, reply in zip(trials, replies, strict=True):
        dropped = set(reply.dropped)
        for path in trial.inner:
            places.setdefault(path, find_place(study, trial, path))
            if path not in dropped:
                accepted.add(path)
    return [
        f"{where}: `{'.'.join(path)}`: no level of the enclosing factor has a setting `{path[-1]}`"
        for path, where in places.items()
        if path not in accepted
    ]


def find_place(study: Study, trial: PlannedTrial, path: Path) -> str:
    """Returns where a trial's setting was written: in a level, the baseline or what it extends."""
    for within, branch in reversed(trial.changes):
        if path[: len(within)] == within:
            return branch.nearest(path[len(within) :]).describe_place()
    return study.baseline.nearest(path).describe_place()


def _build_trial(
    study: Study,
    baseline: Mapping[str, Any],
    varied: Sequence[Factor],
    levels: Levels,
    count: int,
    seed: int,
) -> PlannedTrial:
    changes = [
        change
        for factor in varied
        if factor.name in levels
        for change in factor.levels[levels[factor.name]].changes
    ]
    changes.sort(key=lambda change: len(change[0]))
    settings: dict[str, Any] = dict(baseline)
    for path, branch in changes:
        settings = set_nested(settings, path, branch.plain())
    probe = settings.pop(PROBE, None)
    return PlannedTrial(
        dict(levels),
        seed,
        {**settings, **study.build_seed_settings(seed)},
        changes=tuple(change for change in changes if change[0] != (PROBE,)),
        num_combinations=count,
        probe=probe,
        crosses=seed in study.crossing_seeds,
    )


def join_labels(labels: Iterable[str]) -> str:
    """Joins the labels of levels to the name of a variant; `baseline` without any level."""
    return ", ".join(labels) or BASELINE
