"""What a report was written from: the file beside it that says whether it is still current."""

from dataclasses import dataclass
from typing import ClassVar

from ablate.core.records.record import Item, Record

STATE_FILE = "report_state.json"


@dataclass(frozen=True, kw_only=True)
class PrintedVerdict(Item):
    """A verdict as the terminal shows it."""

    word: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ReportState(Record):
    """The state in which a report was written.

    It holds digests of all that a report is made of, digests of the files of the report, by path
    below its folder, and what the terminal showed.
    """

    HAS_CHECKSUM: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "delete it; the report is then written again"

    inputs: str
    files: dict[str, str]
    verdicts: tuple[PrintedVerdict, ...]
    caveats: tuple[str, ...]
