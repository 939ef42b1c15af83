"""A validated study: what `ablate` knows of a study file before any part is built."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from pydantic import ValidationError

from ablate.config.conflicts import find_conflicts
from ablate.config.design import Design
from ablate.config.keys import StudyFile
from ablate.config.secrets import find_passwords
from ablate.config.seeds import SeedGrowth, SeparateSeeds, list_seeds
from ablate.config.tree import Node, Path, from_plain, set_path
from ablate.config.validation import KeyProblem, list_problems
from ablate.core.seeds import build_seed_settings

# values that stand in for required keys that are missing, so that the others can be compared
PLACEHOLDERS = {
    ("study",): "study",
    ("baseline",): {},
    ("seeds",): 1,
    ("sweep", "space"): {"placeholder": [0]},
}
# keys whose values stay tree nodes, because the lines inside them are needed later
NODES = (("baseline",), ("factors",), ("sweep", "space"), ("sweep", "only"))


class StudyError(ValueError):
    """A study that cannot be run. `problems` lists every mistake in it, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Study(StudyFile):
    """A valid study: the keys of its file, and where they come from. No part is built yet."""

    file: FilePath
    overrides: tuple[str, ...]
    tree: Node  # all keys with the places of their values, overrides applied
    title: str = ""  # first line of the file's first comment
    source: str = ""  # text of the file, followed by the overrides

    @property
    def is_try(self) -> bool:
        """Whether replaced settings gave the study another name than its file does."""
        return self.name != self.tree.children["study"].value

    @property
    def design(self) -> Design:
        """Which combinations of levels the study has."""
        return Design(
            kind=self.design_kind,
            zip_groups=self.zip_groups,
            when=self.when,
            exclude=self.exclude,
            variants=tuple(
                {name: labels[0] for name, labels in levels.items()}
                for levels in self.variant_levels
            ),
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that the study may use for its verdicts, and those that cross them."""
        return list_seeds(self.seed_plan)

    @property
    def separate_seeds(self) -> SeparateSeeds | None:
        """The seeds of each purpose; None if one seed is that of all."""
        return self.seed_plan if isinstance(self.seed_plan, SeparateSeeds) else None

    @property
    def crossing_seeds(self) -> tuple[int, ...]:
        """The seeds of trials that share a varied seed with another: they enter no verdict."""
        separate = self.separate_seeds
        return () if separate is None else self.seeds[separate.num_paired :]

    def build_seed_settings(self, seed: int) -> Mapping[str, int]:
        """Builds the settings of a trial that say from which seeds it draws."""
        separate = self.separate_seeds
        if separate is None:
            return {"seed": seed}
        return build_seed_settings(separate.get_purposes()[seed])

    @property
    def growth(self) -> SeedGrowth | None:
        """How the number of seeds grows from look to look; None if it is fixed."""
        return self.seed_plan if isinstance(self.seed_plan, SeedGrowth) else None

    @property
    def confirm_seeds(self) -> tuple[int, ...]:
        """The seeds of a confirmation, which follow the highest seed used otherwise."""
        if self.confirm is None:
            return ()
        first = max((*self.seeds, *(self.sweep.seeds if self.sweep else ()))) + 1
        return tuple(range(first, first + self.confirm.num_seeds))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds that a trial may have, those of a confirmation last."""
        return (*self.seeds, *self.confirm_seeds)


def validate_study(tree: Node, file: FilePath, overrides: Sequence[str] = ()) -> Study:
    """Validates the keys of a study.

    Args:
        tree: the study file as a tree, with everything it extends and all overrides.
        file: where it was read from.
        overrides: what was overridden, as written on the command line.

    Raises:
        StudyError: with every mistake, each with its place, the value and a remedy.
    """
    passwords = [str(problem.located(tree)) for problem in find_passwords(tree)]
    if passwords:  # other problems might show them
        raise StudyError(passwords)
    keys, valid, invalid, problems = _validate_keys(tree)
    for problem in find_conflicts(keys, tree, invalid):
        where = tree if valid.at(problem.path) is None else valid
        problems.append(problem.located(where))
    if problems:
        problems.sort(key=lambda problem: _get_line(problem, file))
        raise StudyError(list(dict.fromkeys(map(str, problems))))
    fields = {name: getattr(keys, name) for name in StudyFile.model_fields}
    if keys.tasks is not None:
        fields["probes"] = {k: {"tasks": keys.tasks, **probe} for k, probe in keys.probes.items()}
    if keys.evaluate is not None and not keys.evaluate.score:
        fields["evaluate"] = keys.evaluate.model_copy(update={"score": keys.score})
    return Study.model_construct(**fields, file=file, overrides=tuple(overrides), tree=tree)


def _validate_keys(tree: Node) -> tuple[StudyFile, Node, set[str], list[KeyProblem]]:
    """Validates each key by itself, without those that are invalid.

    Returns:
        The valid keys, the tree without invalid values, the keys whose value is only a default,
        and the problems.
    """
    problems: list[KeyProblem] = []
    removed: set[Path] = set()
    valid = tree
    while True:
        try:
            keys = StudyFile.model_validate(valid.plain(keep=NODES))
        except ValidationError as error:
            errors = list(list_problems(error, valid, StudyFile))
            problems += [
                problem
                for problem in errors  # a section may be invalid only because a value was removed
                if not any(path[: len(problem.path)] == problem.path for path in removed)
            ]
            before, paths = valid, {problem.path for problem in errors}
            missing = [path for path in PLACEHOLDERS if path in paths and valid.at(path) is None]
            pruned = {valid.nearest_path(path) for path in paths.difference(missing)}
            valid = valid.prune(pruned)
            for path in missing:
                valid = set_path(valid, path, from_plain(PLACEHOLDERS[path], tree.place))
            removed |= pruned.union(missing)
            assert not valid.equals(before), f"cannot remove {paths}"
        else:
            invalid = {path[0] for path in removed if len(path) == 1}
            return keys, valid, invalid, problems


def _get_line(problem: KeyProblem, file: FilePath) -> float:
    """Returns the line of a problem in the study's file; infinity for other files."""
    source, _, line = str(problem.place).rpartition(":")
    return int(line) if source == str(file) and line.isdigit() else math.inf
