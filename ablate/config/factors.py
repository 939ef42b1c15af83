"""The factors of a study: which settings are varied, and the labelled levels of each."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from ablate.config.tree import Node, to_yaml_scalar
from ablate.config.validation import MAX_NAME_BYTES, RULE, KeyProblem, SectionError, is_long_name
from ablate.core.suggest import did_you_mean

PROBE = "probe"  # the one factor that is not a setting: which of the study's probes scores
Levels = dict[str, Node]  # label -> the branch that replaces the baseline's


def _read_factors(value: Any) -> dict[str, Levels]:
    if not isinstance(value, Node) or not isinstance(value.value, dict):
        raise PydanticCustomError(RULE, "must map settings of the baseline to levels")
    problems: list[KeyProblem] = []
    factors = {name: _read_levels(name, node, problems) for name, node in value.children.items()}
    if problems:
        raise SectionError(problems)
    return factors


FactorsByName = Annotated[
    dict[str, Levels],
    PlainValidator(_read_factors, json_schema_input_type=dict[str, list[Any] | dict[str, Any]]),
]


def find_factor_problems(
    factors: Mapping[str, Mapping[str, Node]], baseline: Node | None, settings: Collection[str]
) -> Iterator[KeyProblem]:
    """Yields factors that vary nothing a trial has.

    `settings` are the names of a trial's settings. Without a valid `baseline`, what lies inside
    its settings is not checked.
    """
    for name in factors:
        path = name.split(".")
        if name == PROBE:
            continue
        if path[0] not in settings:
            hint = did_you_mean(path[0], [*settings, PROBE])
            message = f"factor `{name}` is not a setting of the baseline{hint}"
            yield KeyProblem(message, (name,))
            continue
        in_level = any(name.startswith(f"{other}.") for other in factors)
        branch = baseline.nearest(path[:-1]) if baseline is not None else None
        if branch is not None and len(path) > 1 and not in_level and not branch.is_mapping:
            message = f"goes through a value without settings: {branch.plain()!r}"
            yield KeyProblem(f"factor `{name}` {message}", (name,))


def find_equal_levels(name: str, levels: Mapping[str, Node]) -> Iterator[KeyProblem]:
    """Yields the levels of a factor that are written like an earlier one."""
    earlier: Levels = {}
    for label, level in levels.items():
        for other in (key for key, node in earlier.items() if node.equals(level)):
            message = f"levels `{other}` and `{label}` of factor `{name}` are the same"
            yield KeyProblem(f"{message}; keep one of them", place=level.place)
        earlier[label] = level


def find_unknown_probes(
    levels: Mapping[str, Node], probes: Collection[str]
) -> Iterator[KeyProblem]:
    """Yields the levels of the factor `probe` that name no probe of the study."""
    for label, level in levels.items():
        if level.value not in [*probes]:
            message = f"level `{label}` of factor `{PROBE}` names no probe of the study"
            hint = did_you_mean(str(level.value), probes)
            yield KeyProblem(f"{message}; got {level.plain()!r}{hint}", place=level.place)


def _read_levels(name: str, factor: Node, problems: list[KeyProblem]) -> Levels:
    if isinstance(factor.value, dict) and factor.value:
        for label in factor.value:
            if not label or label.startswith(".") or re.search(r"[/\\\n]", label):
                rule = r"labels name files: they may not contain `/` or `\`, or begin with `.`"
                message = f"{rule}; got `{label}` in factor `{name}`"
                problems.append(KeyProblem(message, (name, label)))
            elif is_long_name(label):
                rule = f"labels name files: they have {MAX_NAME_BYTES} bytes at most"
                message = f"{rule}; got `{label[:20]}...` in factor `{name}`"
                problems.append(KeyProblem(message, (name, label)))
        return factor.value
    if not isinstance(factor.value, list) or not factor.value:
        rule = "needs levels: `label: settings` for each, or a list of plain values"
        message = f"factor `{name}` {rule}; got {factor.plain()!r}"
        problems.append(KeyProblem(message, (name,)))
        return {}
    levels: Levels = {}
    for i, level in enumerate(factor.value):
        if isinstance(level.value, dict | list):
            rule = "a level that is not a plain value needs a label: `label: settings`"
            message = f"factor `{name}`: {rule}; got {level.plain()!r}"
            problems.append(KeyProblem(message, (name, str(i))))
        else:
            label = to_yaml_scalar(level.value)
            levels[f"{label} again" if label in levels else label] = level
    return levels
