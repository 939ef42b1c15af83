"""Decodes audio files to their true end, block by block, and mixes their channels to one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.block_reader import (
    UNKNOWN_LENGTH,
    EndsEarlyError,
    Frames,
    SequentialFile,
    decode_file,
    get_plain_file,
    simplify_layout,
)
from ablate.audio.containers import Layout, read_layout
from ablate.audio.segments import Segment
from ablate.audio.watched_file import raise_disk_error
from ablate.audio.waveform_stream import Samples, WaveformStream

Channel = Literal["mean", "left", "right", "first", "max_energy"]

BLOCK_BYTES = 1 << 20  # read at once to check the disk
_CANCELLED = 0.01  # share of the channels' energy that is left when they cancel out
_AUDIBLE = 1e-8  # mean square; quieter channels have nothing to cancel


class EncodedAudio(WaveformStream):
    """An audio file, or a part of it, that is decoded when it is read.

    Args:
        open_file: opens the file.
        path: the name of the file in errors.
        channel: how to make one channel of several.
        segment: the part to read; default: all.

    Raises:
        BadAudioError: by `blocks`, if the file is truncated, cannot be decoded, or has no samples
            or samples that are not finite.
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
        """Yields (samples, channels); every error becomes a `BadAudioError`.

        An error of the disk says nothing about the sound, and is raised as it is.
        """
        total, opened = 0, None
        try:
            with self._open_file() as file:
                opened = file
                layout = simplify_layout(file, read_layout(file))
                if layout.problem:
                    raise BadAudioError((self._path, layout.problem))
                self._announced = 0
                for frames in decode_file(file, layout, self._register, self._segment):
                    if not np.isfinite(frames).all():
                        raise BadAudioError((self._path, "has samples that are not finite numbers"))
                    total += len(frames)
                    yield frames
        except BadAudioError:
            raise
        except EndsEarlyError as error:
            self._check_disk(opened)
            raise BadAudioError((self._path, str(error))) from error
        except Exception as error:  # whatever the decoder raises is an error of this file
            self._check_disk(opened, error)
            reason = f"cannot be decoded ({describe_decode_error(error)})"
            raise BadAudioError((self._path, reason)) from error
        raise_disk_error(opened)
        if total == 0:
            raise BadAudioError((self._path, self._describe_nothing()))
        if self._segment is None:
            self._check_length(layout, total)

    def _check_disk(self, opened: BinaryIO | None, error: Exception | None = None) -> None:
        """Raises `OSError` if the disk, and not the sound, may be why a file cannot be decoded.

        The file is read once more, because decoders in C do not say why a read has failed.
        """
        raise_disk_error(opened, error)
        try:
            with self._open_file() as file:
                while file.read(BLOCK_BYTES):
                    pass
        except OSError as again:
            raise_disk_error(None, again)

    def _describe_nothing(self) -> str:
        if self._segment is None:
            return "has no samples"
        return f"ends before the segment that starts at {self._segment.start:g} s"

    def _register(self, sound: soundfile.SoundFile) -> None:
        self._sample_rate = int(sound.samplerate)
        if sound.frames < UNKNOWN_LENGTH:
            self._announced += sound.frames

    def _check_length(self, layout: Layout, total: int) -> None:
        announced = self._announced if layout.announced is None else layout.announced
        if total < announced - layout.tolerance:
            reason = f"is truncated after {total} of {announced} samples"
            raise BadAudioError((self._path, reason))
        is_longer = layout.announced is not None and total > announced
        self._is_corrected = layout.corrected or (is_longer and not layout.tolerance)


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

    Only the first block is decoded, of a FLAC file only the last sample: damage in the middle is
    found when the whole file is decoded.
    """
    try:
        with file.open("rb") as content:
            layout = simplify_layout(content, read_layout(content))
            if layout.problem:
                return layout.problem
            if layout.announced is not None and not layout.tolerance:  # FLAC of known length
                with SequentialFile(get_plain_file(content)) as sound:
                    sound.seek(max(0, sound.frames - 1))
                    last = np.empty((1, sound.channels), dtype=np.float32)
                    return "" if sound.buffer_read_into(last, dtype="float32") else "is truncated"
            blocks = decode_file(content, layout, lambda sound: None, None)
            return "" if any(map(len, blocks)) else "has no samples"
    except Exception as error:  # whatever the decoder raises is an error of this file
        return describe_decode_error(error)
