"""Builds the factors of a study: their levels, and which level the others are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablate.config.design import BASELINE
from ablate.config.factors import PROBE
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node

AND = " + "  # joins the names, and the labels, of factors that vary together
Path = tuple[str, ...]
Changes = tuple[tuple[Path, Node], ...]


@dataclass(frozen=True)
class Level:
    """One level of a factor."""

    changes: Changes  # branches that replace those of the baseline
    labels: dict[str, str]  # member -> its label; members are the factors of the study file


@dataclass(frozen=True)
class Factor:
    """A setting that is varied, or several that vary together."""

    name: str  # dotted path into the baseline, or several
    levels: dict[str, Level]
    baseline: str  # the label that the others are compared with
    added: bool = False  # whether the level of the study's baseline is not among those it lists
    written_baseline: str | None = None  # level of the study's baseline, if `baseline` is another

    @property
    def members(self) -> list[str]:
        """The names of the factors of the study file that vary together in this one."""
        return self.name.split(AND)


def build_factors(study: Study) -> list[Factor]:
    """Builds the factors of a study, each with the level that the others are compared with.

    That is the level of the study's baseline, which is added if no listed level equals it. In a
    `leave_one_out` design it is the other level, that of the full method.

    Raises:
        StudyError: a factor of a `leave_one_out` design does not have two levels, or a level called
            `baseline` differs from the baseline.
    """
    groups = {name: group for group in study.design.zip_groups for name in group}
    built = []
    for name in study.factors:
        group = groups.get(name, (name,))
        if name == group[0]:
            built.append(_build_factor(study, group))
    if study.design.kind == "leave_one_out":
        return [_compare_with_full_method(factor, study) for factor in built]
    return built


def split_zipped_levels(varied: Sequence[Factor], levels: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels of a trial by the factors of the study file, zipped ones separately."""
    return {
        member: label
        for factor in varied
        if factor.name in levels
        for member, label in factor.levels[levels[factor.name]].labels.items()
    }


def _build_factor(study: Study, names: Sequence[str]) -> Factor:
    levels = {}
    for row in zip(*(study.factors[name].items() for name in names), strict=True):
        labels = [label for label, _ in row]
        changes = [(tuple(n.split(".")), node) for n, (_, node) in zip(names, row, strict=True)]
        level = Level(tuple(changes), dict(zip(names, labels, strict=True)))
        levels[AND.join(dict.fromkeys(labels))] = level
    same = [label for label, level in levels.items() if _equals_baseline(level, study)]
    name = AND.join(names)
    if same:
        return Factor(name, levels, same[0])
    if BASELINE in levels:
        place = levels[BASELINE].changes[0][1].place
        problem = f"level `{BASELINE}` of factor `{name}` differs from the baseline"
        raise StudyError([f"{place}: {problem}; give it another label"])
    paths = [tuple(name.split(".")) for name in names]
    branches = [(path, _get_baseline_branch(study, path)) for path in paths]
    changes = [(path, branch) for path, branch in branches if branch is not None]
    added = Level(tuple(changes), dict.fromkeys(names, BASELINE))
    return Factor(name, {BASELINE: added, **levels}, BASELINE, added=True)


def _equals_baseline(level: Level, study: Study) -> bool:
    branches = [(_get_baseline_branch(study, path), node) for path, node in level.changes]
    return all(branch is not None and node.equals(branch) for branch, node in branches)


def _get_baseline_branch(study: Study, path: Path) -> Node | None:
    """Returns the branch of the baseline at a path; its probe is that of the study's score."""
    if path == (PROBE,):
        return Node(study.score.partition(".")[0], study.tree.nearest(("score",)).place)
    return study.baseline.at(path)


def _compare_with_full_method(factor: Factor, study: Study) -> Factor:
    others = [label for label in factor.levels if label != factor.baseline]
    if len(others) != 1:
        place = study.tree.nearest(("factors", factor.members[0])).place
        rule = "`design: leave_one_out` needs one level besides that of the baseline"
        raise StudyError([f"{place}: {rule}; factor `{factor.name}` has {len(others)}"])
    return Factor(factor.name, factor.levels, others[0], written_baseline=factor.baseline)
