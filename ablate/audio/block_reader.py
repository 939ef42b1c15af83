"""Reads the blocks of an audio file to its true end, whatever length its header announces."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.audio.byte_views import ByteView
from ablate.audio.containers import Layout
from ablate.audio.segments import Segment

Frames = npt.NDArray[np.float32]  # (samples, channels)

UNKNOWN_LENGTH = 1 << 60  # samples; the decoder announces such a number if it knows none
_BLOCK = 1 << 16  # samples per channel that are decoded at once
_PROBE = 1 << 10  # samples per channel after the end that the file announces
_END_SLACK = 0.1  # seconds by which a segment may end after the file


class EndsEarlyError(Exception):
    """Raised for a file that ends before a segment does."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads from start to end, and does not rely on the length that the file announces."""

    def seekable(self) -> bool:
        """False: `soundfile` would seek after every block, which fails for unknown lengths."""
        return False


def simplify_layout(file: BinaryIO, layout: Layout) -> Layout:
    """Returns a layout that reads the file as it is if the decoder expects enough samples."""
    if not layout.only_if_needed or layout.announced is None:
        return layout
    with SequentialFile(get_plain_file(file)) as sound:
        is_enough = sound.frames >= layout.announced
    if is_enough:
        return Layout(announced=layout.announced, tolerance=layout.tolerance)
    return layout


def decode_file(
    file: BinaryIO,
    layout: Layout,
    register: Callable[[soundfile.SoundFile], None],
    segment: Segment | None,
) -> Iterator[Frames]:
    """Yields the blocks of all streams of a file, each (samples, channels)."""
    kinds = set()
    for part in layout.parts or (None,):
        start, stop = part or (0, None)
        patches = layout.patches if segment is None or layout.announced is None else {}
        view = ByteView(file, start, stop, prefix=layout.prefix, patches=patches)
        with SequentialFile(view if part or patches else get_plain_file(file)) as sound:
            kinds.add((sound.samplerate, sound.channels))
            if len(kinds) > 1:
                raise ValueError(f"its streams differ in rate or channels: {sorted(kinds)}")
            register(sound)
            if segment is None:
                expected = layout.announced if layout.patches else None
                yield from _read_blocks(sound, layout.skip, expected)
            else:
                place = 0 if part or layout.tolerance else _seek(sound, segment.start)
                yield from _cut(_read_blocks(sound, layout.skip), place, sound.samplerate, segment)


def _seek(sound: soundfile.SoundFile, seconds: float) -> int:
    """Moves to a time, if the length of the file is known; returns the new position."""
    place: int = round(seconds * sound.samplerate)
    if not 0 < place < sound.frames < UNKNOWN_LENGTH:
        return 0
    sound.seek(place)
    return place


def _read_blocks(
    sound: soundfile.SoundFile, skip: int = 0, stop: int | None = None
) -> Iterator[Frames]:
    """Yields the blocks of a file.

    Args:
        sound: the file.
        skip: samples per channel at the start that are left out.
        stop: where the file says that it ends; what cannot be decoded after that is not sound.
    """
    place, left = 0, skip
    expected = sound.frames if stop is None else stop
    while True:
        # what is left of a block is filled with zeros, which takes long for short files
        size = min(_BLOCK, expected - place) if place < expected else _PROBE
        size = _BLOCK if place > expected else size
        block = np.empty((size, sound.channels), dtype=np.float32)
        try:
            count = sound.buffer_read_into(block, dtype="float32")
        except soundfile.SoundFileError:
            if place != stop:
                raise
            count = 0
        if count == 0:
            return
        if count > left:
            yield block[left:count]
        left = max(0, left - count)
        place += count


def _cut(blocks: Iterator[Frames], place: int, rate: int, segment: Segment) -> Iterator[Frames]:
    """Yields the blocks of a segment, given the blocks of a file from a position on.

    Raises `EndsEarlyError` if the file ends in the segment.
    """
    first = round(segment.start * rate)
    last = math.inf if segment.stop == math.inf else round(segment.stop * rate)
    for block in blocks:
        part = block[max(0, first - place) : int(min(len(block), max(0, last - place)))]
        place += len(block)
        if len(part):
            yield part
        if place >= last:
            return
    if last != math.inf and place < last - _END_SLACK * rate:
        end = place / rate
        raise EndsEarlyError(
            f"ends after {end:.2f} s, before the segment's end at {segment.stop:g} s"
        )


def get_plain_file(file: BinaryIO) -> BinaryIO | str:
    """Returns the path of a file on disk, which libsndfile reads faster, or the rewound file."""
    name = getattr(file, "name", None)
    if isinstance(name, str | Path):
        return str(name)
    file.seek(0)
    return file
