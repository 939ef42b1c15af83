"""What is varied: each factor's levels, what a level writes where, and which is the baseline's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.config.design import BASELINE
from ablate.config.factors import PROBE
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node

AND = " + "  # between the names, and between the labels, of factors that move together
Path = tuple[str, ...]
Changes = tuple[tuple[Path, Node], ...]


@dataclass(frozen=True)
class Level:
    """One level of a factor."""

    changes: Changes  # the branches that it lays over the baseline
    labels: dict[str, str]  # member -> its label; members are the factors as they are written


@dataclass(frozen=True)
class Factor:
    """A setting that is varied, or several that move together."""

    name: str  # dotted path into the baseline, or several
    levels: dict[str, Level]
    baseline: str  # the label that the others are compared with
    added: bool = False  # whether the baseline's level stands in no list of levels
    written: str | None = None  # the study's baseline, where others are compared with another

    @property
    def members(self) -> list[str]:
        """Returns the names of the study's own factors that move together in this one."""
        return self.name.split(AND)


def factors(study: Study) -> list[Factor]:
    """Finds the baseline's level of each factor, and adds one where none is like the baseline.

    In a design that leaves out one thing at a time, the level to compare with is the other one:
    what the full method has. Raises `StudyError` where such a factor has not two levels, and
    where one called `baseline` differs from the baseline.
    """
    groups = {name: group for group in study.design.zip_groups for name in group}
    found = []
    for name in study.factors:
        group = groups.get(name, (name,))
        if name == group[0]:
            found.append(_factor(study, group))
    return [_full(factor, study) for factor in found] if _leaves_out(study) else found


def as_written(varied: Sequence[Factor], levels: Mapping[str, str]) -> dict[str, str]:
    """Returns a trial's labels by the study's own factors: those that move together, apart."""
    return {
        member: label
        for factor in varied
        if factor.name in levels
        for member, label in factor.levels[levels[factor.name]].labels.items()
    }


def _leaves_out(study: Study) -> bool:
    return study.design.kind == "leave_one_out"


def _factor(study: Study, names: Sequence[str]) -> Factor:
    levels = {}
    for row in zip(*(study.factors[name].items() for name in names), strict=True):
        labels = [label for label, _ in row]
        changes = [(tuple(n.split(".")), node) for n, (_, node) in zip(names, row, strict=True)]
        level = Level(tuple(changes), dict(zip(names, labels, strict=True)))
        levels[AND.join(dict.fromkeys(labels))] = level
    same = [label for label, level in levels.items() if _is_baseline(level, study)]
    name = AND.join(names)
    if same:
        return Factor(name, levels, same[0])
    if BASELINE in levels:
        place = levels[BASELINE].changes[0][1].place
        problem = f"level `{BASELINE}` of factor `{name}` differs from the baseline"
        raise StudyError([f"{place}: {problem}; give it another label"])
    written = [(path, _written(study, path)) for path in (tuple(n.split(".")) for n in names)]
    changes = [(path, branch) for path, branch in written if branch is not None]
    added = Level(tuple(changes), dict.fromkeys(names, BASELINE))
    return Factor(name, {BASELINE: added, **levels}, BASELINE, added=True)


def _is_baseline(level: Level, study: Study) -> bool:
    branches = [(_written(study, path), node) for path, node in level.changes]
    return all(branch is not None and node.equals(branch) for branch, node in branches)


def _written(study: Study, path: Path) -> Node | None:
    """Returns what the baseline has at a path; its probe is that of the study's score."""
    if path == (PROBE,):
        return Node(study.score.partition(".")[0], study.tree.nearest(("score",)).place)
    return study.baseline.at(path)


def _full(factor: Factor, study: Study) -> Factor:
    others = [label for label in factor.levels if label != factor.baseline]
    if len(others) != 1:
        place = study.tree.nearest(("factors", factor.members[0])).place
        rule = "`design: leave_one_out` needs one level besides the baseline's: what to leave out"
        raise StudyError([f"{place}: {rule}; factor `{factor.name}` has {len(others)}"])
    return Factor(factor.name, factor.levels, others[0], written=factor.baseline)
