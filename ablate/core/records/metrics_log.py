"""Defines the lines of `metrics.jsonl`, each with a format version and a checksum."""

import json
import logging
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"
FORMAT = 2
CHECKSUM = "crc"
Row = dict[str, Any]  # `step`, and what was measured there, by name

logger = logging.getLogger(__name__)


def format_line(row: Mapping[str, Any]) -> str:
    """Returns the line of one step, with its line break."""
    content = {**row, "format": FORMAT}
    return json.dumps({**content, CHECKSUM: _compute_checksum(content)}) + "\n"


def parse_line(line: str) -> Row | None:
    """Returns the row of a line; None if the line is damaged or incomplete.

    Lines of earlier versions have neither format nor checksum, and cannot be verified.
    """
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    if not {"format", CHECKSUM} & content.keys():
        return content
    if content.pop(CHECKSUM, None) != _compute_checksum(content):
        return None
    content.pop("format")
    return content


def read_rows(file: Path) -> list[Row]:
    """Reads the rows of a run in the order in which they were written; [] if there is no file.

    An incomplete last line is ignored: a process may be writing it, or was killed meanwhile. Other
    damaged lines are left out with a warning.
    """
    if not file.is_file():
        return []
    *lines, _ = file.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = [parse_line(line) for line in lines]
    if None in rows:
        warn_of_damage(file, rows.count(None))
    return [row for row in rows if row is not None]


@lru_cache
def warn_of_damage(file: Path, number: int) -> None:
    """Logs once that damaged lines of a file are left out."""
    lost = "the curves of this run lack those steps, its scores do not depend on them"
    remedy = "to have them again, delete the run folder and run the study again"
    logger.warning("%s: %d damaged lines are left out; %s; %s", file, number, lost, remedy)


@lru_cache
def warn_of_lost_end(file: Path, last: int, steps: int) -> None:
    """Logs once that the log of a finished training ends before its last step."""
    lost = f"ends at step {last} of {steps}, so that the curves of this run lack the rest"
    logger.warning("%s %s; its scores do not depend on them", file, lost)


def _compute_checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"
