"""Combinations x seeds become trials, checked by a worker and named by it.

A level replaces its branch of the baseline whole. Trials come seed by seed, so that a study that
is stopped early has whole comparisons to show.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.config.design import BASELINE
from ablate.config.factors import PROBE
from ablate.config.study import Study
from ablate.core.nested import set_nested
from ablate.core.records.plan import ResolvedTrial, TrialReply
from ablate.design.factors import AND, Changes, Factor, Path
from ablate.design.grid import Levels, combinations


@dataclass(frozen=True)
class PlannedTrial:
    """One variant and one seed."""

    levels: Levels  # factor -> label, less the factors that mean nothing beside the others
    seed: int
    settings: dict[str, Any]  # as written; with every default once it is resolved
    fingerprint: str = ""  # empty until it is resolved
    resolved: ResolvedTrial | None = None  # a worker's reply
    changes: Changes = ()  # what was laid over the baseline, outer branches first
    stands_for: int = 1  # combinations of the design
    probe: str | None = None  # that examines it; None: that of the study's score

    def get_resolved(self) -> ResolvedTrial:
        """Returns the worker's reply about this trial, which must have been resolved."""
        assert self.resolved is not None, "a worker has not validated this trial yet"
        return self.resolved

    @property
    def asks(self) -> tuple[str, str | None]:
        """What is trained, and what examines it."""
        return self.fingerprint, self.probe

    @property
    def variant(self) -> str:
        """The labels of its levels, for people."""
        return variant_of(self.levels.values())

    @property
    def inner(self) -> list[Path]:
        """The settings that a level wrote into what another level had written."""
        paths = [path for path, _ in self.changes]
        return [p for p in paths if any(p != other and p[: len(other)] == other for other in paths)]


def trials(study: Study, varied: Sequence[Factor]) -> list[PlannedTrial]:
    """Makes every combination of the design with every seed. Raises as `combinations`."""
    found = combinations(study.design, varied)
    baseline = study.baseline.plain()
    return [
        _trial(baseline, varied, levels, count, seed)
        for seed in study.all_seeds
        for levels, count in found
    ]


def resolve_trials(
    trials: Iterable[PlannedTrial], replies: Iterable[TrialReply]
) -> list[PlannedTrial]:
    """Adds a worker's replies: fingerprints, settings with every default, and facts."""
    resolved = []
    for trial, reply in zip(trials, replies, strict=True):
        found = reply.trial
        assert found is not None, "trials with problems are not resolved"
        resolved.append(
            dataclasses.replace(
                trial, settings=found.settings, fingerprint=found.fingerprint, resolved=found
            )
        )
    return resolved


def label_within(levels: Mapping[str, str], setting: str) -> str:
    """Names what a trial has of a setting, by its levels: `block`, or `0.4, 2` of two factors."""
    labels = [
        label
        for name, label in levels.items()
        if setting in {member.split(".")[0] for member in name.split(AND)}
    ]
    return ", ".join(labels).replace("/", "-") or BASELINE


def refused(
    study: Study, trials: Sequence[PlannedTrial], replies: Sequence[TrialReply]
) -> list[str]:
    """Says what a worker found wrong with trials: each problem once, and where it was written.

    A problem that only some variants have names them.
    """
    variants: set[str] = set()
    found: dict[str, dict[str, None]] = {}
    for trial, reply in zip(trials, replies, strict=True):
        variants.add(trial.variant)
        for problem in reply.problems:
            path = problem.path
            name = f"`{'.'.join(path)}`: " if path else ""
            text = f"{place(study, trial, path)}: {name}{problem.message}"
            found.setdefault(text, {})[trial.variant] = None
    return [
        *(
            text if len(concerned) == len(variants) else f"{text} (in {'; '.join(concerned)})"
            for text, concerned in found.items()
        ),
        *_unknown_everywhere(study, trials, replies),
    ]


def _unknown_everywhere(
    study: Study, trials: Sequence[PlannedTrial], replies: Sequence[TrialReply]
) -> list[str]:
    """Names the settings inside another factor that no level of that factor has."""
    places: dict[Path, str] = {}
    taken: set[Path] = set()
    for trial, reply in zip(trials, replies, strict=True):
        dropped = set(reply.dropped)
        for path in trial.inner:
            places.setdefault(path, place(study, trial, path))
            if path not in dropped:
                taken.add(path)
    return [
        f"{where}: `{'.'.join(path)}`: unknown key `{path[-1]}` of every level that it lies in"
        for path, where in places.items()
        if path not in taken
    ]


def place(study: Study, trial: PlannedTrial, path: Path) -> str:
    """Returns where a trial's setting was written: in a level, the baseline or what it extends."""
    for within, branch in reversed(trial.changes):
        if path[: len(within)] == within:
            return branch.nearest(path[len(within) :]).describe_place()
    return study.baseline.nearest(path).describe_place()


def _trial(
    baseline: Mapping[str, Any], varied: Sequence[Factor], levels: Levels, count: int, seed: int
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
    whole = {**settings, "seed": seed}
    laid = tuple(change for change in changes if change[0] != (PROBE,))
    return PlannedTrial(dict(levels), seed, whole, changes=laid, stands_for=count, probe=probe)


def variant_of(labels: Iterable[str]) -> str:
    """Names a variant by the labels of its levels, for people."""
    return ", ".join(labels) or BASELINE
