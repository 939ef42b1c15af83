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

from ablate.audio.clips import ClipTable, compute_list_digest
from ablate.audio.manifest_reader import (
    check_manifest_exists,
    format_problems,
    format_task_name_error,
    is_valid_task_name,
    read_manifest,
)
from ablate.parts import AS_BEFORE


class BadAudioError(ValueError):
    """Clips whose sound cannot be used: the message names them, says why, and the way out."""

    def __init__(self, *clips: tuple[str, str]) -> None:
        problems = format_problems([f"`{path}`: {reason}" for path, reason in clips])
        way_out = "repair them, remove them from the manifest, or set `on_bad_audio: skip`"
        super().__init__(f"{problems}\n{way_out}")
        self.clips = clips  # (path, reason)


class AbstractSource(ABC):
    """Lists clips and reads them. Subclasses are frozen keyword-only dataclasses.

    A source implements `clips` and `read`. The other members have defaults that suit clips which
    never change while their list stays the same; a source of files overrides `stamp`, `has_files`
    and `content_digest`, so that a changed file is decoded again.
    """

    # settings, each with a default, that change the list or labels of clips but not their sound
    unheard: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def clips(self) -> ClipTable:
        """Lists every clip, always in the same order.

        Raises:
            ValueError: If the clips cannot be listed.
        """

    @abstractmethod
    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Reads one clip.

        Args:
            index: Its place in `clips`.

        Returns:
            Samples (samples,), mixed to one channel, and the sample rate in Hz.

        Raises:
            BadAudioError: If the clip cannot be used.
        """

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
        """Clips that `clips` should list but does not, each with the reason: (path, reason)."""
        return ()

    @property
    def edition(self) -> str:
        """A text that differs whenever `clips` lists something else.

        By default a hash of the list; override it if there are too many clips to list at each
        start.
        """
        return compute_list_digest(self.clips())

    @property
    def has_files(self) -> bool:
        """Whether each clip is a file, which may change while `edition` does not."""
        return False

    def content_digest(self, index: int) -> str:
        """Identifies the sound of a clip, wherever the clip is stored, in at most 64 characters.

        By default a hash of the samples. Raises `BadAudioError` for a clip that cannot be read.
        """
        samples, sample_rate = self.read(index)
        hashed = _digest()
        hashed.update(np.ascontiguousarray(samples, dtype=np.float32).tobytes())
        hashed.update(str(sample_rate).encode())
        return hashed.hexdigest()

    def stamp(self, index: int) -> str | None:
        """Returns a text that changes when the clip does (as size and time of a file do).

        None if the clip is missing.
        """
        return "unchanged"

    @property
    def location(self) -> str:
        """The absolute path of the list of clips, or nothing if it is not a file."""
        return ""

    @property
    def is_synthetic(self) -> bool:
        """Whether the clips are computed, and not recorded."""
        return False

    @property
    def skips_bad_audio(self) -> bool:
        """Whether missing and broken clips are left out. If not, they are an error."""
        return False

    @property
    def skips_silence(self) -> bool:
        """Whether clips without any sound are left out."""
        return False


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
        if self.task and not is_valid_task_name(self.task):
            raise ValueError(format_task_name_error(self.task))

    def clips(self) -> ClipTable:
        """Lists the manifest's clips, in its order; it is read once."""
        return self._clips

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
        check_manifest_exists(self._manifest)
        with self._manifest.open("rb") as file:
            return hashlib.file_digest(file, _digest).hexdigest()

    @cached_property
    def _clips(self) -> ClipTable:
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
        raise BadAudioError(
            (path, f"cannot be decoded ({describe_decode_error(error)})")
        ) from error
    if len(samples) == 0:
        raise BadAudioError((path, "holds no samples"))
    if len(samples) < expected:
        raise BadAudioError((path, f"breaks off after {len(samples)} of {expected} samples"))
    if not np.isfinite(samples).all():
        raise BadAudioError((path, "holds samples that are not finite numbers"))
    return samples.mean(axis=1, dtype=np.float32), sample_rate


def describe_decode_error(error: Exception) -> str:
    """Says what is wrong without where the file lies, which a report has no need to tell."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string)
    return str(getattr(error, "strerror", None) or error)


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
