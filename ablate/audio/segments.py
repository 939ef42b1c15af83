"""Segments of audio files: clips that a manifest cuts out with the columns `start` and `end`.

The path of such a clip ends with its times in seconds, `long.wav#t=1.5,3`, as in the W3C's media
fragments, so that clips of one file differ in their paths.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

FRAGMENT = "#t="
_START_COLUMNS, _END_COLUMNS = ("start", "onset"), ("end", "offset")
TIME_COLUMNS = (*_START_COLUMNS, *_END_COLUMNS)


@dataclass(frozen=True)
class Segment:
    """A part of a file, in seconds from its start."""

    start: float
    stop: float  # infinity: to the end


def parse_times(cells: Mapping[str, str]) -> Segment | None:
    """Parses the cells of the columns `start` and `end`, or `onset` and `offset`.

    Returns:
        The segment; None if there are no such columns, or both are empty.

    Raises:
        ValueError: for other texts than numbers, and an end that is not after the start.
    """
    start, end = (
        next((cells[name] for name in names if name in cells), "")
        for names in (_START_COLUMNS, _END_COLUMNS)
    )
    if not start and not end:
        return None
    segment = Segment(
        _parse_seconds(start, "start") if start else 0.0,
        _parse_seconds(end, "end") if end else math.inf,
    )
    if segment.stop <= segment.start:
        raise ValueError(f"the segment must end after its start; got {start or 0} to {end}")
    return segment


def format_fragment(segment: Segment | None) -> str:
    """Returns the end of a clip's path; empty for a whole file."""
    if segment is None:
        return ""
    stop = "" if segment.stop == math.inf else f",{_format(segment.stop)}"
    return f"{FRAGMENT}{_format(segment.start)}{stop}"


def _parse_seconds(text: str, name: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"`{name}` must be a time in seconds, got `{text}`")
    return seconds


def _format(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
