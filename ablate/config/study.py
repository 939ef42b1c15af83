"""A validated study: what `ablate` knows of a study file before any part is built."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from ablate.config.design import Design
from ablate.config.keys import StudyFile
from ablate.config.sections import SeedGrowth, list_seeds
from ablate.config.tree import Node
from ablate.config.validation import format_errors

# keys whose values stay tree nodes, because the lines inside them are needed later
NODES = (("baseline",), ("factors",), ("sweep", "space"), ("sweep", "only"))


class StudyError(ValueError):
    """A study that cannot be run. `problems` lists every mistake in it, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Study(StudyFile):
    """A valid study: the keys of its file, and where they come from. No part is built yet."""

    file: Path
    overrides: tuple[str, ...]
    tree: Node  # all keys with the places of their values, overrides applied
    title: str = ""  # first line of the file's first comment
    source: str = ""  # text of the file, followed by the overrides

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
        """All seeds that the study may use for its verdicts."""
        return list_seeds(self.seed_plan)

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


def validate_study(tree: Node, file: Path, overrides: Sequence[str] = ()) -> Study:
    """Validates the keys of a study.

    Args:
        tree: the study file as a tree, with everything it extends and all overrides.
        file: where it was read from.
        overrides: what was overridden, as written on the command line.

    Raises:
        StudyError: with every mistake, each with its place, the value and a remedy.
    """
    try:
        keys = StudyFile.model_validate(tree.plain(keep=NODES))
    except ValidationError as error:
        raise StudyError(format_errors(error, tree, StudyFile)) from None
    fields = {name: getattr(keys, name) for name in StudyFile.model_fields}
    return Study.model_construct(**fields, file=file, overrides=tuple(overrides), tree=tree)
