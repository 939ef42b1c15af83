"""Reads the structure of an audio file: how to decode it to its end, and whether it is truncated.

The length in a header is not believed: encoders that write to a pipe cannot fill it in, a recorder
that was switched off has not, and an interrupted copy keeps it. Where the decoder relies on it,
`Layout.patches` corrects it; where sound is missing, `Layout.problem` says so.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from ablate.audio import mpeg, ogg

_RIFF_SOUND = b"data"
_W64_RIFF = b"riff\x2e\x91\xcf\x11"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_SLACK = 4096  # bytes after the sound that are ignored


@dataclass(frozen=True)
class Layout:
    """How to read a file to its true end.

    Attributes:
        problem: what is missing of the file; empty if it is complete.
        patches: header bytes that the decoder must see instead, by their offset.
        prefix: bytes that the decoder must see in front of the file.
        skip: the number of samples per channel that they decode to.
        parts: (start, stop) of the streams to decode one after the other; empty: the whole file.
        corrected: whether the decoder would read another length without the above.
        announced: the number of samples per channel that must come; None if unknown.
        tolerance: how many of the announced samples may be missing.
        only_if_needed: whether to read the file as it is if the decoder expects enough samples.
    """

    problem: str = ""
    patches: dict[int, bytes] = field(default_factory=dict)
    prefix: bytes = b""
    skip: int = 0
    parts: tuple[tuple[int, int], ...] = ()
    corrected: bool = False
    announced: int | None = None
    tolerance: int = 0
    only_if_needed: bool = False


READ_AS_IS = Layout()


def read_layout(file: BinaryIO) -> Layout:
    """Reads the structure of an audio file. A file of an unknown format is read as it is."""
    size = file.seek(0, os.SEEK_END)
    start = _skip_id3(file, size)
    head = _read(file, start, 16)
    for magic, read in _READERS:
        if head.startswith(magic):
            return read(file, start, size)
    if start or (head[:1] == b"\xff" and mpeg.parse_header(head)):
        return _read_mpeg(file, start, size)
    return READ_AS_IS


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _skip_id3(file: BinaryIO, size: int) -> int:
    """Returns the first byte after the ID3 tags at the start of a file."""
    place = 0
    while (head := _read(file, place, 10)).startswith(b"ID3") and len(head) == 10:
        length = 0
        for byte in head[6:]:  # seven bits per byte
            length = length << 7 | byte & 127
        place += 10 + length + (10 if head[5] & 16 else 0)
    return min(place, size)


def _judge_length(
    announced: int, available: int, *, is_filler: bool, patch: dict[int, bytes]
) -> Layout:
    """Compares the announced with the true number of bytes of sound.

    Args:
        announced: the number in the header.
        available: bytes from the start of the sound to the end of the file.
        is_filler: whether the number in the header means `unknown`.
        patch: the header bytes that announce `available`.
    """
    if is_filler:
        return Layout(patches=patch, corrected=True) if available else READ_AS_IS
    if announced > available:
        return Layout(problem=f"is truncated after {available:,} of {announced:,} bytes of sound")
    return READ_AS_IS


def _is_stream_length(length: int) -> bool:
    """Returns whether a 32-bit length is one of those that encoders write to a pipe."""
    near = (0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    return any(-256 <= length - one <= 64 for one in near)


def _walk_chunks(
    file: BinaryIO, place: int, size: int, order: str
) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, first byte of its content, announced length) of the chunks of RIFF or IFF."""
    while place + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", _read(file, place, 8))
        yield name, place + 8, length
        place += 8 + length + length % 2


def _read_riff(file: BinaryIO, start: int, size: int) -> Layout:
    order = ">" if _read(file, start, 4) == b"RIFX" else "<"
    is_64 = _read(file, start, 4) == b"RF64"
    long_length, long_place = 0, 0
    for name, place, length in _walk_chunks(file, start + 12, size, order):
        if name == b"ds64" and length >= 16:
            long_place = place + 8
            (long_length,) = struct.unpack("<Q", _read(file, long_place, 8))
        elif name == _RIFF_SOUND:
            available = size - place
            if is_64 and length == 0xFFFFFFFF and long_place:
                is_filler = long_length in (0, 2**64 - 1)
                patch = {long_place: struct.pack("<Q", available)}
                return _judge_length(long_length, available, is_filler=is_filler, patch=patch)
            if length > available and (_is_stream_length(length) or length in (size, size - 8)):
                return READ_AS_IS  # libsndfile reads to the end
            patch = {place - 4: struct.pack(f"{order}I", min(available, 2**32 - 2))}
            return _judge_sound_chunk(file, place, length, size, order=order, patch=patch)
    return READ_AS_IS


def _judge_sound_chunk(
    file: BinaryIO, place: int, length: int, size: int, *, order: str, patch: dict[int, bytes]
) -> Layout:
    """Judges a chunk of sound that may also announce fewer bytes than the file has."""
    if length >= size - place:
        return _judge_length(length, size - place, is_filler=False, patch=patch)
    end = place
    names = []
    for name, first, size_of_chunk in _walk_chunks(file, place + length + length % 2, size, order):
        if not (name.isascii() and name.decode().isprintable()):
            break
        names.append(name)
        end = first + size_of_chunk
    if names or end >= size or not _has_content(file, place + length, size):
        return READ_AS_IS
    return _judge_length(length, size - place, is_filler=True, patch=patch)


def _has_content(file: BinaryIO, place: int, size: int) -> bool:
    """Returns whether a file has more than padding between a place and the end of a file."""
    return size - place > _SLACK and any(_read(file, place, 1 << 16))


def _read_iff(file: BinaryIO, start: int, size: int) -> Layout:
    for name, place, length in _walk_chunks(file, start + 12, size, ">"):
        if name in (b"SSND", b"BODY"):
            available = size - place
            if length > available and _is_stream_length(length):
                return READ_AS_IS  # libsndfile reads to the end
            patch = {place - 4: struct.pack(">I", available)}
            if name == b"SSND" and length in (0, 8):  # 8 bytes precede the sound
                return _judge_length(length, available, is_filler=available > _SLACK, patch=patch)
            return _judge_sound_chunk(file, place, length, size, order=">", patch=patch)
    return READ_AS_IS


def _read_w64(file: BinaryIO, start: int, size: int) -> Layout:
    place = start + 40
    while place + 24 <= size:
        name, length = struct.unpack("<16sQ", _read(file, place, 24))
        if name == _W64_DATA:
            available = size - place
            patch = {place + 16: struct.pack("<Q", available)}
            is_filler = length in (0, 24, 2**64 - 1, 2**63 - 1)
            return _judge_length(
                length, available, is_filler=is_filler and available > 24, patch=patch
            )
        place += max(24, -(-length // 8) * 8)
    return READ_AS_IS


def _read_au(file: BinaryIO, start: int, size: int) -> Layout:
    order = ">" if _read(file, start, 4) == b".snd" else "<"
    first, length = struct.unpack(f"{order}II", _read(file, start + 4, 8).ljust(8, b"\0"))
    if length == 0xFFFFFFFF:
        return READ_AS_IS  # libsndfile reads to the end
    available = size - start - first
    is_filler = (length == 0 and available > 0) or (
        length > available and _is_stream_length(length)
    )
    patch = {start + 8: b"\xff" * 4}
    return _judge_length(length, available, is_filler=is_filler, patch=patch)


def _read_caf(file: BinaryIO, start: int, size: int) -> Layout:
    place = start + 8
    while place + 12 <= size:
        name, length = struct.unpack(">4sq", _read(file, place, 12))
        if name == _RIFF_SOUND:
            available = size - place - 12
            patch = {place + 4: struct.pack(">q", available)}
            is_filler = length in (-1, 0) and available > 4
            return _judge_length(length, available, is_filler=is_filler, patch=patch)
        place += 12 + max(0, length)
    return READ_AS_IS


def _read_nist(file: BinaryIO, start: int, size: int) -> Layout:
    text = _read(file, start, 1 << 14).split(b"end_head")[0].decode("latin-1").splitlines()
    words = [line.split(maxsplit=2) for line in text]
    fields = {word[0]: word[2] for word in words if len(word) == 3}
    try:
        header = int(text[1])
        counts = ("sample_count", "channel_count", "sample_n_bytes")
        samples, channels, width = (int(fields.get(name, 1)) for name in counts)
    except (IndexError, ValueError):
        return READ_AS_IS
    if "sample_count" not in fields:
        return READ_AS_IS
    announced = samples * channels * width
    return _judge_length(announced, size - start - header, is_filler=False, patch={})


def _read_ogg(file: BinaryIO, start: int, size: int) -> Layout:
    streams = ogg.walk_pages(file, size)
    if streams.problem:
        return Layout(problem=streams.problem)
    if len(streams.starts) < 2:
        return READ_AS_IS
    stops = (*streams.starts[1:], streams.end)
    return Layout(parts=tuple(zip(streams.starts, stops, strict=True)), corrected=True)


def _read_flac(file: BinaryIO, start: int, size: int) -> Layout:
    """Lets the decoder read to the end whatever number of samples STREAMINFO holds."""
    place = start + 8 + 13  # the upper 4 bits are those of the sample size
    content = _read(file, place, 5)
    if len(content) < 5:
        return READ_AS_IS
    announced = int.from_bytes(content, "big") & (2**36 - 1)
    unknown = bytes((content[0] & 0xF0, 0, 0, 0, 0))
    return Layout(patches={place: unknown} if announced else {}, announced=announced or None)


def _read_mpeg(file: BinaryIO, start: int, size: int) -> Layout:
    stream = mpeg.scan_frames(file, start, size)
    if stream is None:
        return READ_AS_IS
    num_frames, announced, samples = stream.num_frames, stream.announced, stream.first.samples
    if announced is not None and announced > num_frames + 1:
        return Layout(problem=f"is truncated after {num_frames} of {announced} frames")
    if stream.breaks_off:
        return Layout(problem=f"is truncated within frame {num_frames + 1}")
    if announced is not None and num_frames <= announced + 1:
        return Layout(tolerance=2 * samples)
    return Layout(
        prefix=stream.create_silent_frame(),
        skip=samples,
        parts=((stream.start, size),),
        corrected=True,
        announced=num_frames * samples,
        tolerance=2 * samples,
        only_if_needed=announced is None,
    )


_READERS: tuple[tuple[bytes, Callable[[BinaryIO, int, int], Layout]], ...] = (
    (b"RIFF", _read_riff),
    (b"RIFX", _read_riff),
    (b"RF64", _read_riff),
    (b"FORM", _read_iff),
    (_W64_RIFF, _read_w64),
    (b".snd", _read_au),
    (b"dns.", _read_au),
    (b"caff", _read_caf),
    (b"NIST_1A", _read_nist),
    (b"OggS", _read_ogg),
    (b"fLaC", _read_flac),
)
