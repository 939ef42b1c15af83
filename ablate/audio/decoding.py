"""Decodes audio files to their true end, block by block, and names those that break off."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.byte_views import ByteView
from ablate.audio.containers import Layout, read_layout
from ablate.audio.segments import Segment
from ablate.audio.waveform_stream import Samples, WaveformStream

Channel = Literal["mean", "left", "right", "first", "max_energy"]
Frames = npt.NDArray[np.float32]  # (samples, channels)

_BLOCK = 1 << 16  # samples per channel that are decoded at once
_PROBE = 1 << 10  # samples per channel behind the end that the file announces
_CANCELLED = 0.01  # share of the channels' energy that is left when they cancel out
_AUDIBLE = 1e-8  # mean square; quieter channels have nothing to cancel
_END_SLACK = 0.1  # seconds by which a segment may end behind the file
_UNKNOWN_LENGTH = 1 << 60  # samples; the decoder announces such a number if it knows none


class _EndsEarlyError(Exception):
    """Raised for a file that ends before a segment does."""


class _SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads from start to end, and does not rely on the length that the file announces."""

    def seekable(self) -> bool:
        """False: `soundfile` would seek after every block, which fails for unknown lengths."""
        return False


class EncodedAudio(WaveformStream):
    """An audio file, or a part of it, that is decoded when it is read.

    Args:
        open_file: opens the file.
        path: the name of the file in errors.
        channel: how to make one channel of several.
        segment: the part to read; default: all.

    Raises:
        BadAudioError: by `blocks`, if the file breaks off, cannot be decoded, or has no samples or
            samples that are not finite.
    """

    def __init__(
        self,
        open_file: Callable[[], BinaryIO],
        path: str,
        *,
        channel: Channel = "mean",
        segment: Segment | None = None,
    ) -> None:
        self._open_file, self._path = open_file, path
        self._channel, self._segment = channel, segment
        self._sample_rate = 0
        self._announced = 0  # samples per channel
        self._loudest: int | None = None  # channel, for `max_energy`
        self._is_corrected = self._is_cancelled = False

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz. Raises `BadAudioError`."""
        if not self._sample_rate:
            for _ in self._decode():
                break
        return self._sample_rate

    @property
    def is_corrected(self) -> bool:
        """Whether the length in the file's header is wrong or missing."""
        return self._is_corrected

    @property
    def is_cancelled(self) -> bool:
        """Whether the mean over channels has less than a hundredth of their energy."""
        return self._is_cancelled

    def blocks(self) -> Iterator[Samples]:
        """Decodes and mixes the file, block by block. Raises `BadAudioError`."""
        mixed = separate = 0.0
        count = 0
        for frames in self._decode():
            if frames.shape[1] == 1:
                samples = frames[:, 0]
            else:
                samples = self._mix(frames)
                mixed += float(np.vdot(samples, samples))
                separate += float(np.vdot(frames, frames)) / frames.shape[1]
            count += len(samples)
            yield samples
        is_audible = separate > _AUDIBLE * count
        self._is_cancelled = (
            self._channel == "mean" and is_audible and mixed < _CANCELLED * separate
        )

    def _mix(self, frames: Frames) -> Samples:
        match self._channel:
            case "mean":
                mixed: Samples = frames.mean(axis=1, dtype=np.float32)
                return mixed
            case "right":
                column = 1
            case "max_energy":
                column = self._find_loudest()
            case _:
                column = 0
        return np.ascontiguousarray(frames[:, column])

    def _find_loudest(self) -> int:
        if self._loudest is None:
            energy: npt.NDArray[np.float64] | float = 0.0
            for frames in self._decode():
                energy = energy + np.einsum("ij,ij->j", frames, frames, dtype=np.float64)
            self._loudest = int(np.argmax(energy))
        return self._loudest

    def _decode(self) -> Iterator[Frames]:
        """Yields (samples, channels); every error becomes a `BadAudioError`."""
        total = 0
        try:
            with self._open_file() as file:
                layout = _simplify(file, read_layout(file))
                if layout.problem:
                    raise BadAudioError((self._path, layout.problem))
                self._announced = 0
                for frames in _decode_file(file, layout, self._register, self._segment):
                    if not np.isfinite(frames).all():
                        raise BadAudioError((self._path, "has samples that are not finite numbers"))
                    total += len(frames)
                    yield frames
        except BadAudioError:
            raise
        except _EndsEarlyError as error:
            raise BadAudioError((self._path, str(error))) from error
        except Exception as error:  # whatever the decoder raises is an error of this file
            reason = f"cannot be decoded ({describe_decode_error(error)})"
            raise BadAudioError((self._path, reason)) from error
        if total == 0:
            raise BadAudioError((self._path, self._describe_nothing()))
        if self._segment is None:
            self._check_length(layout, total)

    def _describe_nothing(self) -> str:
        if self._segment is None:
            return "has no samples"
        return f"ends before the segment that starts at {self._segment.start:g} s"

    def _register(self, sound: soundfile.SoundFile) -> None:
        self._sample_rate = int(sound.samplerate)
        if sound.frames < _UNKNOWN_LENGTH:
            self._announced += sound.frames

    def _check_length(self, layout: Layout, total: int) -> None:
        announced = self._announced if layout.announced is None else layout.announced
        if total < announced - layout.tolerance:
            reason = f"is truncated after {total} of {announced} samples"
            raise BadAudioError((self._path, reason))
        is_longer = layout.announced is not None and total > announced
        self._is_corrected = layout.corrected or (is_longer and not layout.tolerance)


def _simplify(file: BinaryIO, layout: Layout) -> Layout:
    """Returns a layout that reads the file as it is if the decoder expects enough samples."""
    if not layout.only_if_needed or layout.announced is None:
        return layout
    with _SequentialFile(_get_plain(file)) as sound:
        is_enough = sound.frames >= layout.announced
    if is_enough:
        return Layout(announced=layout.announced, tolerance=layout.tolerance)
    return layout


def _decode_file(
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
        with _SequentialFile(view if part or patches else _get_plain(file)) as sound:
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
    if not 0 < place < sound.frames < _UNKNOWN_LENGTH:
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
        stop: where the file says that it ends; what cannot be decoded behind that is no sound.
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

    Raises `_EndsEarlyError` if the file ends in the segment.
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
        raise _EndsEarlyError(
            f"ends after {end:.2f} s, before the segment's end at {segment.stop:g} s"
        )


def _get_plain(file: BinaryIO) -> BinaryIO | str:
    """Returns the path of a file on disk, which libsndfile reads faster, or the rewound file."""
    name = getattr(file, "name", None)
    if isinstance(name, str | Path):
        return str(name)
    file.seek(0)
    return file


def describe_decode_error(error: Exception) -> str:
    """Describes a decoding error without the file's location, which reports must not contain."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string)
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def open_audio_file(file: Path) -> EncodedAudio:
    """Opens a file to be decoded; errors call it by the given path."""
    return EncodedAudio(lambda: file.open("rb"), str(file))


def find_problem(file: Path) -> str:
    """Returns why a file cannot be used; empty if nothing is wrong with its structure.

    Nothing but the last sample of a FLAC file is decoded: damage in the middle is not found.
    """
    try:
        with file.open("rb") as content:
            layout = _simplify(content, read_layout(content))
            if layout.problem:
                return layout.problem
            if layout.announced is not None and not layout.tolerance:  # FLAC of known length
                with _SequentialFile(_get_plain(content)) as sound:
                    sound.seek(max(0, sound.frames - 1))
                    last = np.empty((1, sound.channels), dtype=np.float32)
                    return "" if sound.buffer_read_into(last, dtype="float32") else "breaks off"
            blocks = _decode_file(content, layout, lambda sound: None, None)
            return "" if any(map(len, blocks)) else "has no samples"
    except Exception as error:  # whatever the decoder raises is an error of this file
        return describe_decode_error(error)
