"""Keeps a study as it is when its jobs are submitted, with everything that its file extends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from ablate.config.study import Study, validate_study
from ablate.config.tree import from_plain
from ablate.core.records.record import Record


@dataclass(frozen=True, kw_only=True)
class StudySnapshot(Record):
    """`study.json` of a submission: a study with all overrides, independent of its files."""

    REMEDY: ClassVar[str] = "submit the study again"
    HAS_CHECKSUM: ClassVar[bool] = True

    file: str  # path of the study's file, for messages and reports
    overrides: list[str]
    name: str
    title: str
    source: str
    settings: dict[str, Any]  # all keys of the study but `slurm`, which jobs do not read

    @classmethod
    def create(cls, study: Study) -> Self:
        """Takes a snapshot of a study."""
        settings = {key: value for key, value in study.tree.plain().items() if key != "slurm"}
        return cls(
            file=str(study.file),
            overrides=list(study.overrides),
            name=study.name,
            title=study.title,
            source=study.source,
            settings=settings,
        )

    def load(self) -> Study:
        """Returns the study. Raises `StudyError` if this version of ablate refuses it."""
        tree = from_plain(self.settings, f"{self.file}, as it was submitted")
        study = validate_study(tree, Path(self.file), self.overrides)
        kept = {"name": self.name, "title": self.title, "source": self.source}
        return study.model_copy(update=kept)
