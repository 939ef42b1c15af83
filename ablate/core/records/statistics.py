"""Defines the cached statistics that normalise the frames of a clip store."""

from dataclasses import dataclass
from typing import ClassVar

from ablate.core.records.record import Record


@dataclass(frozen=True, kw_only=True)
class StatisticsFile(Record):
    """`statistics-<key>.json` beside a clip store."""

    HAS_CHECKSUM: ClassVar[bool] = True

    mean: list[float]  # one per band, or one
    std: list[float]
