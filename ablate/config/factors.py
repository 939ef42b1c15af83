"""The levels of a study's factors: what is laid over the baseline, under which label."""

import re
from collections.abc import Collection, Iterator

from ablate.config.tree import Node, to_yaml_scalar
from ablate.core.suggest import did_you_mean

PROBE = "probe"  # the one factor that is no setting: which of the study's probes examines


def check_factors(
    text: Node, settings: Collection[str], probes: Collection[str], problems: list[str]
) -> Iterator[tuple[str, dict[str, Node]]]:
    """Yields each factor with its levels, by label; what is wrong is added to `problems`.

    `settings` are those that a trial may have, `probes` the names of the study's probes.
    """
    node = text.children.get("factors")
    if node is None:
        return
    if not isinstance(node.value, dict):
        problem = "`factors` must map settings of the baseline to levels"
        problems.append(f"{node.place}: {problem}; got {node.plain()!r}")
    baseline = text.children.get("baseline", text)
    zipped = _zipped(text)
    for name, factor in node.children.items():
        if reason := _misplaced(name, node.children, baseline, settings):
            problems.append(f"{factor.place}: factor `{name}` {reason}")
        else:
            levels = _levels(name, factor, problems)
            if name not in zipped:  # what moves along may stay where it is
                _refuse_twins(name, levels, problems)
            if name == PROBE:
                _refuse_unknown(levels, probes, problems)
            yield name, levels


def _zipped(text: Node) -> set[str]:
    """Names the factors that move together with another, as far as they are well written."""
    groups = text.children["zip"].plain() if "zip" in text.children else []
    lists = groups if isinstance(groups, list) else []
    return {str(name) for group in lists if isinstance(group, list) for name in group}


def _misplaced(
    name: str, names: Collection[str], baseline: Node, settings: Collection[str]
) -> str | None:
    path = name.split(".")
    if name == PROBE:
        return None
    if path[0] not in settings:
        return f"is not a setting of the baseline{did_you_mean(path[0], [*settings, PROBE])}"
    branch = baseline.nearest(path[:-1])
    inside = any(name.startswith(f"{other}.") for other in names)  # a level may have settings
    if len(path) > 1 and not inside and not isinstance(branch.value, dict):
        return f"goes through a value without settings: {branch.plain()!r}"
    return None


def _levels(name: str, factor: Node, problems: list[str]) -> dict[str, Node]:
    if isinstance(factor.value, dict) and factor.value:
        for label, level in factor.value.items():
            if not label or label.startswith(".") or re.search(r"[/\\\n]", label):
                rule = "labels name files: they may not contain `/` or begin with `.`"
                problems.append(f"{level.place}: {rule}; got `{label}` in factor `{name}`")
        return factor.value
    if not isinstance(factor.value, list) or not factor.value:
        rule = "needs levels: `label: settings` for each, or a list of plain values"
        problems.append(f"{factor.place}: factor `{name}` {rule}; got {factor.plain()!r}")
        return {}
    levels: dict[str, Node] = {}
    for level in factor.value:
        if isinstance(level.value, dict | list):
            rule = "a level that is not a plain value needs a label: `label: settings`"
            problems.append(f"{level.place}: factor `{name}`: {rule}; got {level.plain()!r}")
        else:
            twin = to_yaml_scalar(level.value) in levels
            levels[to_yaml_scalar(level.value) + (" again" if twin else "")] = level
    return levels


def _refuse_twins(name: str, levels: dict[str, Node], problems: list[str]) -> None:
    seen: dict[str, Node] = {}
    for label, level in levels.items():
        for twin in (other for other, earlier in seen.items() if earlier.equals(level)):
            problem = f"levels `{twin}` and `{label}` of factor `{name}` are the same"
            problems.append(f"{level.place}: {problem}; keep one of them")
        seen[label] = level


def _refuse_unknown(levels: dict[str, Node], probes: Collection[str], problems: list[str]) -> None:
    for label, level in levels.items():
        if level.value not in [*probes]:
            problem = f"level `{label}` of factor `{PROBE}` names no probe of the study"
            known = did_you_mean(str(level.value), probes)
            problems.append(f"{level.place}: {problem}; got {level.plain()!r}{known}")
