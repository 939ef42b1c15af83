"""Factors x seeds become trials here, and a plan once their fingerprints are known.

A level replaces its branch of the baseline whole. Trials come seed by seed, so that a study that
is stopped early has whole comparisons to show.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ablate import confounds
from ablate.schema import Study, StudyError
from ablate.text import Node

BASELINE = "baseline"


@dataclass(frozen=True)
class Factor:
    """A setting that is varied."""

    name: str  # dotted path into the baseline
    levels: dict[str, Node | None]  # label -> branch; None leaves the setting unwritten
    baseline: str  # the label that the others are compared with

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(self.name.split("."))


@dataclass(frozen=True)
class Trial:
    """One variant and one seed."""

    levels: dict[str, str]  # factor -> label
    seed: int
    settings: dict[str, Any]
    fingerprint: str = ""
    plan: dict[str, Any] = dataclasses.field(default_factory=dict)  # what the worker found out

    @property
    def variant(self) -> str:
        """The labels of its levels, for people."""
        return ", ".join(self.levels.values()) or BASELINE


def factors(study: Study) -> list[Factor]:
    """Finds the baseline's level of each factor, and adds one where none is like the baseline."""
    found = []
    for name, levels in study.factors.items():
        branch = study.baseline.at(name.split("."))
        same = [k for k, level in levels.items() if branch is not None and level.equals(branch)]
        if same:
            found.append(Factor(name, dict(levels), same[0]))
        elif BASELINE in levels:
            problem = f"level `{BASELINE}` of factor `{name}` differs from the baseline"
            raise StudyError([f"{levels[BASELINE].place}: {problem}; give it another label"])
        else:
            found.append(Factor(name, {BASELINE: branch, **levels}, BASELINE))
    return found


def grid(study: Study, varied: Iterable[Factor]) -> list[Trial]:
    """Combines every level with every other and every seed."""
    varied = list(varied)
    trials = []
    for seed in study.seeds:
        for labels in itertools.product(*(factor.levels for factor in varied)):
            settings = study.baseline.plain()
            for factor, label in zip(varied, labels, strict=True):
                _replace(settings, factor.path, factor.levels[label])
            names = [factor.name for factor in varied]
            levels = dict(zip(names, labels, strict=True))
            trials.append(Trial(levels, seed, {**settings, "seed": seed}))
    return trials


def planned(trials: Iterable[Trial], answers: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Adds what a worker found out about each trial: its fingerprint and resolved settings."""
    return [
        dataclasses.replace(
            trial,
            settings=answer["settings"],
            fingerprint=answer["fingerprint"],
            plan={key: answer[key] for key in answer if key not in ("settings", "problems")},
        )
        for trial, answer in zip(trials, answers, strict=True)
    ]


def settle(
    study: Study, varied: Iterable[Factor], trials: list[Trial]
) -> tuple[list[Factor], list[Trial]]:
    """Merges an added baseline level with the level that turns out to be the same.

    Two levels can be written differently and mean the same, once every default is written out.
    Raises `StudyError` where the study itself holds both.
    """
    problems: list[str] = []
    settled = []
    for factor in varied:
        merged = factor
        for one, other in itertools.combinations(factor.levels, 2):
            if not _same(trials, factor.name, one, other):
                continue
            if one == BASELINE and BASELINE not in study.factors[factor.name]:
                levels = {k: v for k, v in factor.levels.items() if k != BASELINE}
                merged = Factor(factor.name, levels, other)
                trials = [trial for trial in trials if trial.levels[factor.name] != BASELINE]
                break
            place = study.factors[factor.name][other].place
            problem = f"levels `{one}` and `{other}` of factor `{factor.name}` are the same"
            problems.append(f"{place}: {problem} once their defaults are written out")
        settled.append(merged)
    if problems:
        raise StudyError(problems)
    return settled, trials


def label_within(trial: Trial, setting: str) -> str:
    """Names what a trial has of a setting, by its levels: `block`, or `0.4, 2` of two factors."""
    labels = [label for name, label in trial.levels.items() if name.split(".")[0] == setting]
    return ", ".join(labels).replace("/", "-") or BASELINE


def refused(
    study: Study, trials: Iterable[Trial], answers: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Words what a worker found wrong with trials: each problem once, where it was written."""
    variants = {trial.variant for trial in trials}
    found: dict[str, list[str]] = {}
    for trial, answer in zip(trials, answers, strict=True):
        for problem in answer["problems"]:
            path = tuple(problem["path"])
            name = f"`{'.'.join(path)}`: " if path else ""
            text = f"{place(study, trial, path)}: {name}{problem['message']}"
            concerned = found.setdefault(text, [])
            if trial.variant not in concerned:
                concerned.append(trial.variant)
    return [
        text if len(concerned) == len(variants) else f"{text} (in {'; '.join(concerned)})"
        for text, concerned in found.items()
    ]


def place(study: Study, trial: Trial, path: tuple[str, ...]) -> str:
    """Returns where a trial's setting was written: in a level, the baseline or what it extends."""
    for name, label in trial.levels.items():
        within = tuple(name.split("."))
        level = study.factors[name].get(label)
        if level is not None and path[: len(within)] == within:
            return level.nearest(path[len(within) :]).place
    return study.baseline.nearest(path).place


def summary(
    study: Study, varied: Iterable[Factor], trials: Iterable[Trial], answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes a plan as plain data: what `plan.json` holds and a report is made from."""
    probe, _, pooling = study.score.partition(".")
    varied, trials = list(varied), list(trials)
    return {
        "study": study.name,
        "title": study.title,
        "text": study.source,
        "file": str(study.file),
        "overrides": list(study.overrides),
        "seeds": list(study.seeds),
        "factors": {factor.name: list(factor.levels) for factor in varied},
        "baseline": {factor.name: factor.baseline for factor in varied},
        "score": {"probe": probe, "pooling": pooling},
        "report": dataclasses.asdict(study.report),
        "probes": answer["probes"],
        "data": answer["data"],
        "warnings": _warnings(trials),
        "trials": [
            {
                **trial.plan,
                "levels": trial.levels,
                "seed": trial.seed,
                "fingerprint": trial.fingerprint,
                "settings": trial.settings,
                "twin": trial.plan["twin"]["fingerprint"],
                "statistics": trial.plan["statistics"]["fingerprint"],
            }
            for trial in trials
        ],
    }


def _warnings(trials: Iterable[Trial]) -> list[str]:
    """Warns of levels that differ in more than their shape; all seeds of a variant are alike."""
    variants = {tuple(trial.levels.values()): trial for trial in trials}
    return confounds.warnings(
        [
            confounds.Shares(
                levels=trial.levels,
                context=trial.plan.get("context"),
                targets=trial.plan.get("targets"),
            )
            for trial in variants.values()
        ]
    )


def _replace(settings: dict[str, Any], path: tuple[str, ...], branch: Node | None) -> None:
    *above, last = path
    for key in above:
        settings = settings.setdefault(key, {})
    if branch is not None:
        settings[last] = branch.plain()


def _same(trials: Iterable[Trial], name: str, one: str, other: str) -> bool:
    """Tells whether two levels of a factor lead to the same fingerprints everywhere."""
    of: dict[str, list[str]] = {one: [], other: []}
    for trial in trials:
        of.get(trial.levels[name], []).append(trial.fingerprint)
    return of[one] == of[other]
