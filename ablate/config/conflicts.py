"""Checks the keys of a study against each other: names, levels, and keys that exclude others."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ablate.config.design import (
    Factors,
    find_condition_problems,
    find_variant_problems,
    find_when_problems,
    find_zip_problems,
)
from ablate.config.factors import (
    PROBE,
    find_equal_levels,
    find_factor_problems,
    find_unknown_probes,
)
from ablate.config.keys import DEFAULT_SCORE, SETTINGS, StudyFile
from ablate.config.sections import Limits
from ablate.config.seeds import SeparateSeeds, list_seeds
from ablate.config.sweep import find_sweep_problems
from ablate.config.tree import Node
from ablate.config.validation import MAX_NAME_BYTES, KeyProblem, is_long_name
from ablate.core.suggest import did_you_mean

POOLINGS = (
    *("mean", "mean_std", "concat_freq", "max", "mean_max", "deltas"),
    *("segments2", "segments4", "segments8", "segments4_freq", "summary", "attentive"),
)
LAYER = re.compile(r"(layer[1-9]\d*|mean_layers)\.")  # before a pooling; default: the last layer


def find_conflicts(study: StudyFile, tree: Node, invalid: Collection[str]) -> Iterator[KeyProblem]:
    """Yields every problem of keys that are valid in themselves.

    Args:
        study: the valid keys. Invalid values are left out, also inside sections.
        tree: all keys as written. Names are looked up here, so that an invalid probe or factor
            is not reported as missing.
        invalid: keys whose value in `study` is only a default; nothing is compared with them.
    """
    baseline = None if "baseline" in invalid else study.baseline
    probes = None if "probes" in invalid else {*study.probes, *_list_names(tree, "probes")}
    factors: Factors | None = None
    if "factors" not in invalid:
        factors = {name: study.factors.get(name, {}) for name in _list_names(tree, "factors")}
    if baseline is not None:
        yield from _prefix("baseline", _find_baseline_problems(baseline))
    yield from _prefix("probes", _find_probe_problems(study.probes))
    yield from _find_score_problems(study, probes, tree)
    if factors is not None:
        yield from _prefix("factors", find_factor_problems(factors, baseline, SETTINGS))
        yield from _find_level_problems(study, factors, probes, tree)
    yield from _find_variant_list_problems(study, factors, tree, invalid)
    if study.sweep is not None:
        seeds = () if "seeds" in invalid else list_seeds(study.seed_plan)
        node = tree.children["sweep"]
        yield from _prefix(
            "sweep", find_sweep_problems(study.sweep, node, factors, seeds, SETTINGS)
        )
    if study.match_budget is not None and baseline is not None:
        yield from _prefix("match_budget", _find_budget_problems(baseline, factors or {}))
    yield from _find_exclusions(study, factors, tree)


def _prefix(key: str, problems: Iterator[KeyProblem]) -> Iterator[KeyProblem]:
    return (problem.inside((key,)) for problem in problems)


def _list_names(tree: Node, key: str) -> list[str]:
    return list(tree.children[key].children) if key in tree.children else []


def _find_baseline_problems(baseline: Node) -> Iterator[KeyProblem]:
    if not baseline.children:
        message = "`{key}` is missing: the settings that all trials share"
        yield KeyProblem(f"{message}; got {baseline.plain()!r}")
    for key in baseline.children:
        if key == "seed":
            message = "`seed` is not a setting of the baseline; write `seeds` in the study"
            yield KeyProblem(message, (key,))
        elif key not in SETTINGS:
            message = f"unknown key `{key}` of `baseline`{did_you_mean(key, SETTINGS)}"
            yield KeyProblem(message, (key,))


def _find_probe_problems(probes: Mapping[str, Mapping[str, Any]]) -> Iterator[KeyProblem]:
    for name, probe in probes.items():
        if not re.fullmatch(r"[\w+-]+", name) or is_long_name(name):
            made_of = "letters, digits, `_`, `-`, `+`"
            rule = f"a probe's name is made of {made_of}, {MAX_NAME_BYTES} bytes at most"
            yield KeyProblem(f"{rule}; got `{name}`", (name,))
        if "type" not in probe:
            hint = did_you_mean(name, [other for other in probes if other != name])
            message = f"probe `{name}` needs a `type`: the dotted path of a probe{hint}"
            yield KeyProblem(message, (name,))


def _find_score_problems(
    study: StudyFile, probes: Collection[str] | None, tree: Node
) -> Iterator[KeyProblem]:
    nodes = {path: tree.at(path) for path in (("score",), ("evaluate", "score"))}
    scores = {path: node.value for path, node in nodes.items() if node is not None}
    for path, score in ({("score",): study.score} | scores).items():
        if not isinstance(score, str):
            continue
        probe, _, view = score.partition(".")
        pooling = LAYER.sub("", view, count=1)
        rule = f"`{{key}}` must be probe.pooling, such as `{DEFAULT_SCORE}`"
        if probes is not None and probe not in probes:
            hint = did_you_mean(probe, probes)
            yield KeyProblem(f"{rule}; there is no probe `{probe}`{hint}", path)
        if pooling not in POOLINGS:
            hint = did_you_mean(pooling, POOLINGS)
            yield KeyProblem(f"{rule}; there is no pooling `{pooling}`{hint}", path)


def _find_level_problems(
    study: StudyFile, factors: Factors, probes: Collection[str] | None, tree: Node
) -> Iterator[KeyProblem]:
    """Yields unknown factors and levels, and levels that are the same."""
    if probes is not None:
        yield from find_unknown_probes(factors.get(PROBE, {}), probes)
    yield from _prefix("zip", find_zip_problems(study.zip_groups, factors))
    zipped = {name for group in study.zip_groups for name in group}  # may keep a value
    for name, levels in factors.items():
        if name not in zipped:
            yield from _prefix("factors", find_equal_levels(name, levels))
    yield from _prefix("when", find_when_problems(study.when, factors))
    for i, condition in enumerate(study.exclude):
        for problem in find_condition_problems(condition, factors):
            yield problem.inside(("exclude", str(i)))
    labels = {label for levels in factors.values() for label in levels}
    for label in _list_names(tree, "notes"):
        if label not in labels:
            message = f"`notes` explains `{label}`, which is not a level"
            yield KeyProblem(f"{message}{did_you_mean(label, labels)}", ("notes", label))


def _find_variant_list_problems(
    study: StudyFile, factors: Factors | None, tree: Node, invalid: Collection[str]
) -> Iterator[KeyProblem]:
    node = tree.children.get("variants")
    has_variants = node is not None and bool(node.value)
    if not {"design", "variants"} & {*invalid} and (study.design_kind == "list") != has_variants:
        rule = "`design: list` and its list, `variants`, go together"
        yield KeyProblem(rule, ("variants",) if has_variants else ("design",))
    yield from _prefix("variants", find_variant_problems(study.variant_levels, factors))


def _find_budget_problems(baseline: Node, factors: Factors) -> Iterator[KeyProblem]:
    """Yields why trials cannot be matched by a resource."""
    steps = baseline.at(("budget", "steps"))
    for name, levels in factors.items():
        for label, level in levels.items() if name in ("budget", "budget.steps") else ():
            own = level if name == "budget.steps" else level.at(("steps",))
            if own is not None and (steps is None or not own.equals(steps)):
                message = f"level `{label}` of factor `{name}` sets `budget.steps` itself"
                remedy = "leave that out, or `match_budget`"
                yield KeyProblem(f"{message}; {remedy}", place=own.place)


def _find_exclusions(study: StudyFile, factors: Factors | None, tree: Node) -> Iterator[KeyProblem]:
    """Yields keys that need another key, or exclude one."""
    keys = tree.children
    if "confirm" in keys and factors == {} and "sweep" not in keys:
        message = "`confirm` has nothing to choose from: the study has no `factors`"
        yield KeyProblem(message, ("confirm",))
    if isinstance(study.seed_plan, SeparateSeeds):
        for key in ("confirm", "sweep"):
            if key in keys:
                message = f"`{key}` needs seeds that are used for every purpose"
                yield KeyProblem(f"{message}; leave it out, or write `seeds: 5`", (key,))
    if "limits" in keys and keys["limits"].value == {}:
        names = ", ".join(Limits.model_fields)
        yield KeyProblem(f"`{{key}}` must hold one of {names}; got {{}}", ("limits",))
    if "sweep" not in keys:
        return
    if "match_budget" in keys:
        message = "the points of a `sweep` may differ in cost; leave out one of the two"
        yield KeyProblem(f"`{{key}}`: {message}", ("match_budget",))
    if "limits" in keys:
        message = "`limits` does not apply to a sweep's points"
        remedy = "use `sweep.trials` and `sweep.minutes`"
        yield KeyProblem(f"{message}; {remedy}", ("limits",))
