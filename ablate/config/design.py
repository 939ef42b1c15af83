"""How a study combines the levels of its factors: as a grid or otherwise, together, and where."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.config.tree import Node, to_yaml_scalar
from ablate.core.suggest import did_you_mean

DESIGNS = ("grid", "one_factor", "leave_one_out", "list")
KEYS = ("design", "zip", "when", "exclude", "variants")
BASELINE = "baseline"  # the label of a level that is added where none is like the baseline
Condition = dict[str, tuple[str, ...]]  # factor -> the levels that meet it
Factors = Mapping[str, Mapping[str, Node]]


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which combinations of levels a study has."""

    kind: str = "grid"  # of `DESIGNS`
    zipped: tuple[tuple[str, ...], ...] = ()  # factors that move together, level by level
    when: dict[str, Condition] = field(default_factory=dict)  # factor -> where its levels apply
    exclude: tuple[Condition, ...] = ()  # a combination that meets all of one is left out
    variants: tuple[dict[str, str], ...] = ()  # of `list`; a factor not named is at its baseline


def check_design(text: Node, factors: Factors, problems: list[str]) -> Design:
    """Reads the keys of a study that make its design; what is wrong is added to `problems`."""
    return _Reader(text, factors, problems).design()


class _Reader:
    """Reads the keys one by one, and collects what is wrong."""

    def __init__(self, text: Node, factors: Factors, problems: list[str]) -> None:
        self._text, self._factors, self._problems = text, factors, problems

    def design(self) -> Design:
        readers: dict[str, Callable[[Node], Any]] = {
            "design": self._kind,
            "zip": lambda node: tuple(self._groups(node)),
            "when": lambda node: dict(self._conditions_of(node)),
            "exclude": lambda node: tuple(self._listed(node, self._condition)),
            "variants": lambda node: tuple(self._listed(node, self._variant)),
        }
        names = {"design": "kind", "zip": "zipped"}
        found = {
            names.get(key, key): read(self._text.children[key])
            for key, read in readers.items()
            if key in self._text.children
        }
        design = Design(**found)
        if (design.kind == "list") != bool(design.variants):
            rule = "`design: list` and its list, `variants`, go together"
            node = self._text.children.get("variants") or self._text.children["design"]
            self._refuse(node, rule)
        if design.zipped and "sweep" in self._text.children:
            problem = "`zip` and `sweep` do not go together; tune the factors apart"
            self._refuse(self._text.children["zip"], problem)
        return design

    def _refuse(self, node: Node, problem: str) -> None:
        self._problems.append(f"{node.place}: {problem}")

    def _kind(self, node: Node) -> str:
        if node.value not in DESIGNS:
            known = did_you_mean(str(node.value), DESIGNS)
            self._refuse(node, f"there is no design `{node.plain()}`{known}")
        return str(node.value)

    def _groups(self, node: Node) -> Iterator[tuple[str, ...]]:
        taken: set[str] = set()
        for group in self._listed(node, lambda child: child):
            names = [str(name) for name in group.plain()] if isinstance(group.value, list) else []
            if len(names) < 2:
                rule = "`zip` lists groups of factors: `zip: [[encoder, optimizer.rate]]`"
                self._refuse(group, f"{rule}; got {group.plain()!r}")
                continue
            known = [self._knows(name, group, "zip") for name in names]
            sizes = {len(self._factors[name]) for name in names if name in self._factors}
            if all(known) and len(sizes) > 1:
                counts = ", ".join(f"{name} has {len(self._factors[name])}" for name in names)
                self._refuse(group, f"zipped factors need equal numbers of levels: {counts}")
            elif taken & set(names) or len(set(names)) < len(names):
                self._refuse(group, f"a factor can be zipped only once; got {names}")
            elif all(known):
                yield tuple(names)
            taken |= set(names)

    def _conditions_of(self, node: Node) -> Iterator[tuple[str, Condition]]:
        for name, child in node.children.items():
            if self._knows(name, child, "when"):
                condition = self._condition(child)
                if name in condition:
                    self._refuse(child, f"factor `{name}` cannot depend on itself")
                yield name, condition
        if not node.children:
            shape = "`when` maps a factor to where it applies: `when: {masker.ratio: {masker: x}}`"
            self._refuse(node, f"{shape}; got {node.plain()!r}")

    def _listed(self, node: Node, read: Callable[[Node], Any]) -> Iterator[Any]:
        if not isinstance(node.value, list):
            self._refuse(node, f"expected a list; got {node.plain()!r}")
            return
        for child in node.value:
            yield read(child)

    def _variant(self, node: Node) -> dict[str, str]:
        found = self._condition(node)
        for name, labels in found.items():
            if len(labels) != 1:
                self._refuse(node, f"a variant has one level of `{name}`; got {list(labels)}")
        return {name: labels[0] for name, labels in found.items() if labels}

    def _condition(self, node: Node) -> Condition:
        found: Condition = {}
        if not isinstance(node.value, dict) or not node.value:
            rule = "expected levels of factors, such as `{masker: block}`"
            self._refuse(node, f"{rule}; got {node.plain()!r}")
        for name, child in node.children.items():
            if self._knows(name, child, "a condition"):
                labels = child.plain() if isinstance(child.value, list) else [child.value]
                found[name] = tuple(self._label(name, label, child) for label in labels)
        return found

    def _label(self, name: str, label: Any, node: Node) -> str:
        known = (*self._factors[name], BASELINE)
        if to_yaml_scalar(label) not in known:
            hint = did_you_mean(to_yaml_scalar(label), known)
            self._refuse(node, f"factor `{name}` has no level `{to_yaml_scalar(label)}`{hint}")
        return to_yaml_scalar(label)

    def _knows(self, name: str, node: Node, where: str) -> bool:
        if name not in self._factors:
            known = did_you_mean(name, self._factors)
            self._refuse(node, f"{where} names no factor of the study: `{name}`{known}")
        return name in self._factors
