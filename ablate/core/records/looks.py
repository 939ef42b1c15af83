"""The log of interim looks at a study: the files in `runs/looks/`."""

from dataclasses import dataclass
from typing import ClassVar

from ablate.core.records.plan import Look, Settings
from ablate.core.records.record import Item, Record


@dataclass(frozen=True, kw_only=True)
class ComparedScore(Item):
    """The score by which variants are compared."""

    protocol: Settings  # settings of the probe, with every default
    pooling: str


@dataclass(frozen=True, kw_only=True)
class LookLog(Record):
    """Every look at one question: the same variants, compared by the same score."""

    REMEDY: ClassVar[str] = "delete it; the report then no longer corrects for the looks it listed"
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    study: str
    arms: tuple[str, ...]  # the variants, each named by its trial of the first seed
    score: ComparedScore
    looks: tuple[Look, ...]
