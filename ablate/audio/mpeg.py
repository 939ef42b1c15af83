"""Counts the frames of an MPEG audio stream (MP3), whose header may announce a wrong length.

A Xing or Info frame, if an encoder wrote one, tells how many frames follow. Without it a decoder
estimates the length from the first frame and the size of the file, which is wrong for a variable
bit rate and after a picture. Frames are therefore counted, by their headers alone.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

_KBITS = {  # (MPEG 1, layer) -> kbit/s by the index in the header
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_CHUNK = 1 << 20  # bytes that are read at once
_SEARCH = 1 << 16  # bytes before the first frame that may be something else
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")  # may follow the last frame


@dataclass(frozen=True)
class FrameHeader:
    """The header of one frame."""

    version: int  # as in the header: 3 for MPEG 1, 2 for MPEG 2, 0 for MPEG 2.5
    layer: int
    sample_rate: int
    size: int  # bytes, with the header
    samples: int
    mono: bool

    @property
    def tag_offset(self) -> int:
        """Where a Xing or Info tag lies in a frame of layer III."""
        return 4 + ((17 if self.mono else 32) if self.version == 3 else (9 if self.mono else 17))


@dataclass(frozen=True)
class MpegStream:
    """The frames of a file.

    Attributes:
        start: the first byte of the first frame that holds sound.
        info_start: the first byte of the Xing or Info frame; equals `start` if there is none.
        num_frames: complete frames that hold sound.
        announced: the number of frames in the Xing or Info frame; None if unknown.
        first: the header of the first frame that holds sound.
        breaks_off: whether the last frame is incomplete.
    """

    start: int
    info_start: int
    num_frames: int
    announced: int | None
    first: FrameHeader
    breaks_off: bool

    def create_silent_frame(self) -> bytes:
        """Returns a silent frame of the lowest bit rate.

        A decoder that finds it first expects every frame to be as small, and hence at least as
        many of them as there are.
        """
        first = self.first
        size = _compute_size(first.version, first.layer, 1, first.sample_rate, padding=0)
        rate, mode = _RATES[first.version].index(first.sample_rate), 3 if first.mono else 0
        layer = 0xE1 | first.version << 3 | (4 - first.layer) << 1
        return bytes((0xFF, layer, 1 << 4 | rate << 2, mode << 6)).ljust(size, b"\0")


def parse_header(content: bytes, place: int = 0) -> FrameHeader | None:
    """Parses a frame header; None for other bytes and for frames of free format."""
    head = content[place : place + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return None
    sample_rate = _RATES[version][rate]
    size = _compute_size(version, layer, index, sample_rate, padding=head[2] >> 1 & 1)
    samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    return FrameHeader(version, layer, sample_rate, size, samples, mono=head[3] >> 6 == 3)


def _compute_size(version: int, layer: int, index: int, rate: int, *, padding: int) -> int:
    bits = 1000 * _KBITS[version == 3, layer][index]
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // rate + padding


def scan_frames(file: BinaryIO, start: int, size: int) -> MpegStream | None:
    """Counts the frames from `start` to the end of a file of `size` bytes.

    Returns None if there are no two frames in a row near `start`.
    """
    reader = _Reader(file, size)
    info_start = _find_frame(reader, start, min(size, start + _SEARCH))
    if info_start is None:
        return None
    first = _header_at(reader, info_start)
    assert first is not None
    announced, place = _read_announced(reader, info_start, first), info_start
    has_info = announced is not None
    if has_info:
        place += first.size
        first = _header_at(reader, place) or first
    sound_start, num_frames, breaks_off = place, 0, False
    while (header := _next_header(reader, place, first)) is not None:
        place, frame = header
        if place + frame.size > size:
            breaks_off = True
            break
        num_frames += 1
        place += frame.size
    return MpegStream(
        start=sound_start,
        info_start=info_start,
        num_frames=num_frames,
        announced=announced or None,
        first=first,
        breaks_off=breaks_off,
    )


class _Reader:
    """Reads bytes at any place; sequential reads are cheap."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file
        self._first, self._content = 0, b""

    def get(self, place: int, length: int) -> bytes:
        offset = place - self._first
        if offset < 0 or offset + length > len(self._content):
            self._file.seek(place)
            self._first, self._content = place, self._file.read(max(length, _CHUNK))
            offset = 0
        return self._content[offset : offset + length]


def _header_at(reader: _Reader, place: int) -> FrameHeader | None:
    return parse_header(reader.get(place, 4))


def _is_alike(one: FrameHeader, other: FrameHeader) -> bool:
    return (one.version, one.layer, one.sample_rate) == (
        other.version,
        other.layer,
        other.sample_rate,
    )


def _next_header(reader: _Reader, place: int, first: FrameHeader) -> tuple[int, FrameHeader] | None:
    """Returns the next frame at or after `place`: its position and header; None at the end."""
    header = _header_at(reader, place)
    if header is not None and _is_alike(header, first):
        return place, header
    if place + 4 > reader.size or reader.get(place, 11).startswith(_TAGS):
        return None
    position = _find_frame(reader, place, reader.size, like=first)
    if position is None:
        return None
    return position, parse_header(reader.get(position, 4)) or first


def _find_frame(
    reader: _Reader, start: int, stop: int, like: FrameHeader | None = None
) -> int | None:
    """Returns the first place in a range at which a frame, or a whole stream, begins."""
    place = start
    while place + 4 <= stop:
        block = reader.get(place, min(4096, stop - place))
        offset = block.find(b"\xff")
        if offset < 0 or offset + 4 > len(block):
            if place + len(block) >= stop:
                return None
            place += max(1, len(block) - 3)
            continue
        place += offset
        header = _header_at(reader, place)
        if header is not None and (like is None or _is_alike(header, like)):
            follower = _header_at(reader, place + header.size)
            if follower is not None and _is_alike(header, follower):
                return place
            if place + header.size == reader.size:  # the only frame, or the last one
                return place
        place += 1
    return None


def _read_announced(reader: _Reader, place: int, header: FrameHeader) -> int | None:
    """Returns the number in a Xing or Info frame, 0 if it holds none; None for other frames."""
    if header.layer != 3:
        return None
    tag = reader.get(place + header.tag_offset, 12)
    if tag[:4] in (b"Xing", b"Info") and len(tag) == 12:
        flags, frames = struct.unpack(">II", tag[4:])
        return int(frames) if flags & 1 else 0
    if reader.get(place + 36, 4) == b"VBRI":
        return int.from_bytes(reader.get(place + 50, 4), "big")
    return None
