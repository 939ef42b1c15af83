"""Walks the pages of an Ogg file: where its streams begin, and whether the last one ends."""

import os
from dataclasses import dataclass
from typing import BinaryIO

_BEGINS, _ENDS = 2, 4  # flags in the header of a page


@dataclass(frozen=True)
class OggStreams:
    """The streams of a file that follow each other.

    Attributes:
        starts: the first byte of each stream.
        end: the byte after the last page.
        problem: where the file is truncated or damaged; empty if it is complete.
    """

    starts: tuple[int, ...]
    end: int
    problem: str


def walk_pages(file: BinaryIO, size: int) -> OggStreams:
    """Reads the header of every page.

    Whatever follows the last page of the last stream is no sound and is ignored.
    """
    starts: list[int] = []
    unfinished: set[bytes] = set()  # serial numbers of streams without a last page so far
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(27)
        if head[:4] != b"OggS"[: len(head)]:
            problem = f"is damaged at byte {place} of {size}" if unfinished else ""
            return OggStreams(tuple(starts), place, problem)
        table = file.read(head[26]) if len(head) == 27 else b""
        if len(head) < 27 or len(table) < head[26] or file.tell() + sum(table) > size:
            return OggStreams(tuple(starts), place, _describe(place, size))
        if head[5] & _BEGINS:
            if not unfinished:
                starts.append(place)
            unfinished.add(head[14:18])
        if head[5] & _ENDS:
            unfinished.discard(head[14:18])
        place = file.seek(sum(table), os.SEEK_CUR)
    return OggStreams(tuple(starts), place, _describe(place, size) if unfinished else "")


def _describe(place: int, size: int) -> str:
    if place == size:
        return "is truncated: its last page does not end the stream"
    return f"is truncated within the page at byte {place} of {size}"
