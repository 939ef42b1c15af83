"""Where clips come from: a source lists its clips, labelled, and reads each as a waveform."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.audio.clips import Clips
from ablate.audio.manifest_reader import (
    check_there,
    names_a_folder,
    read_manifest,
    several,
    unusable,
)
from ablate.parts import AS_BEFORE


class BadAudioError(ValueError):
    """Clips whose sound cannot be used: the message names them, says why, and the way out."""

    def __init__(self, *clips: tuple[str, str]) -> None:
        problems = several([f"`{path}`: {reason}" for path, reason in clips])
        way_out = "repair them, remove them from the manifest, or set `on_bad_audio: skip`"
        super().__init__(f"{problems}\n{way_out}")
        self.clips = clips  # (path, reason)


class AbstractSource(ABC):
    """Lists clips and reads them. Subclasses are frozen keyword-only dataclasses."""

    # settings, each with a default, that decide what is listed and said of a clip: not its sound
    unheard: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def clips(self) -> Clips:
        """Lists every clip, always in one order. Raises `ValueError` if that is not possible."""

    @property
    @abstractmethod
    def left_out(self) -> Sequence[tuple[str, str]]:
        """What should have been listed but was left out, and why: (path, reason)."""

    @property
    @abstractmethod
    def edition(self) -> str:
        """Differs where `clips` lists others; quick to ask, for millions of clips too."""

    @property
    @abstractmethod
    def has_files(self) -> bool:
        """Whether each clip is a file of its own, which may change while `edition` does not."""

    @abstractmethod
    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Reads one clip: its samples (samples,), mixed to one channel, and its sample rate.

        Raises `BadAudioError` for a clip that cannot be used.
        """

    @abstractmethod
    def content_digest(self, index: int) -> str:
        """Names a clip's content, wherever the clip lies: equal digest, equal sound.

        At most 64 characters. Raises `BadAudioError` for a clip that cannot be read.
        """

    @abstractmethod
    def stamp(self, index: int) -> str | None:
        """Returns what changes, at a glance, when a clip's content does; None if it is missing."""

    @property
    @abstractmethod
    def location(self) -> str:
        """The absolute path the clips are listed at, or nothing for sounds made on the spot."""

    @property
    @abstractmethod
    def skips_bad_audio(self) -> bool:
        """Whether clips that are missing or broken are left out rather than refused."""

    @property
    @abstractmethod
    def skips_silence(self) -> bool:
        """Whether clips that hold nothing but silence are left out."""


@dataclass(frozen=True, kw_only=True)
class Folder(AbstractSource):
    """Sound files of any format libsndfile reads, listed in a CSV file with a line each.

    Its columns: `path`, relative to the CSV file; the label, several, or events with their times
    (see `ablate.audio.annotations`); `split` (train, valid, test) or `fold`; and `task` where the
    lines are of several tasks. Others are kept as they are. A clip may be listed once for each
    task, always with the same split.
    """

    unheard = ("label", "task", "on_bad_audio", "on_silence")

    manifest: str  # the CSV file
    label: str = "label"  # the column to tell apart; without one, clips are only trained on
    task: str = ""  # its name in reports; by default that of the manifest's folder
    on_bad_audio: Literal["raise", "skip"] = "raise"  # of clips that are missing or broken
    on_silence: Literal["keep", "skip"] = field(default="keep", metadata={AS_BEFORE: "keep"})

    def __post_init__(self) -> None:
        if self.task and not names_a_folder(self.task):
            raise ValueError(unusable(self.task))

    def clips(self) -> Clips:
        """Lists the manifest's clips, in its order; it is read once."""
        return self._clips

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
        """Nothing: a line that cannot be used is refused."""
        return ()

    @property
    def edition(self) -> str:
        """The manifest's content, hashed."""
        return self._edition

    @property
    def has_files(self) -> bool:
        """Each clip is one."""
        return True

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one file."""
        return decode(self._file(index), self._clips.paths[index])

    def content_digest(self, index: int) -> str:
        """Hashes the file's bytes."""
        try:
            with self._file(index).open("rb") as file:
                return hashlib.file_digest(file, _digest).hexdigest()
        except OSError as error:  # it was there a moment ago
            raise BadAudioError((self._clips.paths[index], f"cannot be read ({error})")) from error

    def stamp(self, index: int) -> str | None:
        """Returns size and time of change of the file, or None where there is none."""
        try:
            status = self._file(index).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size} {status.st_mtime_ns}"

    @property
    def location(self) -> str:
        """The manifest's absolute path."""
        return str(self._manifest)

    @property
    def skips_bad_audio(self) -> bool:
        """As `on_bad_audio` says."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """As `on_silence` says."""
        return self.on_silence == "skip"

    @property
    def _manifest(self) -> Path:
        return Path(self.manifest).expanduser().resolve()

    @cached_property
    def _edition(self) -> str:
        check_there(self._manifest)
        with self._manifest.open("rb") as file:
            return hashlib.file_digest(file, _digest).hexdigest()

    @cached_property
    def _clips(self) -> Clips:
        _ = self._edition  # asked first: that of a list which changes meanwhile is outdated
        task = self.task or self._manifest.parent.name
        return read_manifest(self._manifest, label=self.label, task=task)

    def _file(self, index: int) -> Path:
        return self._manifest.parent / self._clips.paths[index]


def decode(file: Path | BinaryIO, path: str) -> tuple[npt.NDArray[np.float32], int]:
    """Reads a sound file: its samples (samples,), mixed to one channel, and its sample rate.

    Raises `BadAudioError`, which calls the file `path`, where it does not decode to the end, holds
    no samples, or holds some that are not finite.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            samples = sound.read(dtype="float32", always_2d=True)
            expected, sample_rate = sound.frames, int(sound.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadAudioError((path, f"cannot be decoded ({reason_of(error)})")) from error
    if len(samples) == 0:
        raise BadAudioError((path, "holds no samples"))
    if len(samples) < expected:
        raise BadAudioError((path, f"breaks off after {len(samples)} of {expected} samples"))
    if not np.isfinite(samples).all():
        raise BadAudioError((path, "holds samples that are not finite numbers"))
    return samples.mean(axis=1, dtype=np.float32), sample_rate


def reason_of(error: Exception) -> str:
    """Says what is wrong without where the file lies, which a report has no need to tell."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string)
    return str(getattr(error, "strerror", None) or error)


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
