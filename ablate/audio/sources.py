"""Audio sources: a source lists labelled clips and reads each as a waveform."""

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
    """Raised for clips that cannot be used; the message lists them with reasons and a remedy.

    Args:
        clips: (path, reason) of each.
    """

    def __init__(self, *clips: tuple[str, str]) -> None:
        problems = format_problems([f"`{path}`: {reason}" for path, reason in clips])
        remedy = "repair them, remove them from the manifest, or set `on_bad_audio: skip`"
        super().__init__(f"{problems}\n{remedy}")
        self.clips = clips


class AbstractSource(ABC):
    """Lists clips and reads them. Subclasses are frozen keyword-only dataclasses.

    A source implements `clips` and `read`. The other members have defaults that suit clips which
    never change while their list stays the same; a source of files overrides `stamp`, `has_files`
    and `content_digest`, so that a changed file is decoded again.

    Example:
        A source of one-second sine tones:

        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> from ablate import AbstractSource, ClipInfo, ClipTable
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Tones(AbstractSource):
        ...     per_split: int = 20
        ...     def clips(self):
        ...         return ClipTable.from_clips(
        ...             ClipInfo(f"{split}/{hertz}/{i}", str(hertz), task="tones", split=split)
        ...             for split in ("train", "valid", "test")
        ...             for hertz in (200, 400)
        ...             for i in range(self.per_split)
        ...         )
        ...     def read(self, index):
        ...         hertz = float(self.clips()[index].label)
        ...         seconds = np.arange(16000) / 16000
        ...         return np.sin(2 * np.pi * hertz * seconds).astype(np.float32), 16000
        >>> tones = Tones(per_split=2)
        >>> samples, sample_rate = tones.read(0)
        >>> len(tones.clips()), samples.shape, sample_rate
        (12, (16000,), 16000)
    """

    # settings, each with a default, that change the list or labels of clips but not their sound
    non_audio_settings: ClassVar[tuple[str, ...]] = ()

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
    def skipped_clips(self) -> Sequence[tuple[str, str]]:
        """Clips that `clips` should list but does not, each with the reason: (path, reason)."""
        return ()

    @property
    def list_version(self) -> str:
        """A text that differs whenever `clips` lists something else.

        By default a hash of the list; override it if there are too many clips to list at each
        start.
        """
        return compute_list_digest(self.clips())

    @property
    def has_files(self) -> bool:
        """Whether each clip is a file, which may change while `list_version` does not."""
        return False

    def content_digest(self, index: int) -> str:
        """Identifies the sound of clip `index`, wherever it is stored, in at most 64 characters.

        By default a hash of the samples. Raises `BadAudioError` for a clip that cannot be read.
        """
        samples, sample_rate = self.read(index)
        hasher = _create_hasher()
        hasher.update(np.ascontiguousarray(samples, dtype=np.float32).tobytes())
        hasher.update(str(sample_rate).encode())
        return hasher.hexdigest()

    def stamp(self, index: int) -> str | None:
        """Returns a text that changes when clip `index` does (as size and time of a file do).

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
    """Audio files listed in a CSV file (the manifest), in any format that libsndfile reads.

    Columns of the manifest: `path`, relative to the manifest; the label column, with a class,
    several, or events with times (see `ablate.audio.annotations`); `split` (train, valid, test) or
    `fold`; and `task`, if the clips belong to several tasks. Other columns are kept. A clip may be
    listed once per task, always with the same split.

    Args:
        manifest: Path of the CSV file.
        label: Column of the labels. Empty: clips without labels, only to train on.
        task: Name of the task in reports. Empty: the name of the manifest's folder.
        on_bad_audio: Whether missing and broken clips are an error, or left out and listed.
        on_silence: Whether clips without any sound are used or left out.

    Raises:
        ValueError: for a `task` that is not usable as a folder name.

    Example:
        data: {type: ablate.audio.sources.Folder, manifest: birds/manifest.csv, label: species}
    """

    non_audio_settings = ("label", "task", "on_bad_audio", "on_silence")

    manifest: str
    label: str = "label"
    task: str = ""
    on_bad_audio: Literal["raise", "skip"] = "raise"
    on_silence: Literal["keep", "skip"] = field(default="keep", metadata={AS_BEFORE: "keep"})

    def __post_init__(self) -> None:
        if self.task and not is_valid_task_name(self.task):
            raise ValueError(format_task_name_error(self.task))

    def clips(self) -> ClipTable:
        """Lists the clips in the order of the manifest, which is read once."""
        return self._clips

    @property
    def list_version(self) -> str:
        """A hash of the manifest's content."""
        return self._list_version

    @property
    def has_files(self) -> bool:
        """True: each clip is a file."""
        return True

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one file."""
        return decode(self._file(index), self._clips.paths[index])

    def content_digest(self, index: int) -> str:
        """Hashes the file's bytes."""
        try:
            with self._file(index).open("rb") as file:
                return hashlib.file_digest(file, _create_hasher).hexdigest()
        except OSError as error:  # deleted after it was listed
            raise BadAudioError((self._clips.paths[index], f"cannot be read ({error})")) from error

    def stamp(self, index: int) -> str | None:
        """Returns the file's size and modification time; None if it is missing."""
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
        """Whether `on_bad_audio` is `skip`."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """Whether `on_silence` is `skip`."""
        return self.on_silence == "skip"

    @property
    def _manifest(self) -> Path:
        return Path(self.manifest).expanduser().resolve()

    @cached_property
    def _list_version(self) -> str:
        check_manifest_exists(self._manifest)
        with self._manifest.open("rb") as file:
            return hashlib.file_digest(file, _create_hasher).hexdigest()

    @cached_property
    def _clips(self) -> ClipTable:
        # hashed before it is read: if the file changes in between, the hash is outdated
        _ = self._list_version
        task = self.task or self._manifest.parent.name
        return read_manifest(self._manifest, label=self.label, task=task)

    def _file(self, index: int) -> Path:
        return self._manifest.parent / self._clips.paths[index]


def decode(file: Path | BinaryIO, path: str) -> tuple[npt.NDArray[np.float32], int]:
    """Decodes an audio file, mixed to one channel.

    Args:
        file: the file, or its content.
        path: the name of the file in errors.

    Returns:
        Samples, float32 (samples,), and the sample rate in Hz.

    Raises:
        BadAudioError: if the file does not decode to its end, or has no samples or samples that
            are not finite.
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
        raise BadAudioError((path, "has no samples"))
    if len(samples) < expected:
        raise BadAudioError((path, f"is truncated after {len(samples)} of {expected} samples"))
    if not np.isfinite(samples).all():
        raise BadAudioError((path, "has samples that are not finite numbers"))
    return samples.mean(axis=1, dtype=np.float32), sample_rate


def describe_decode_error(error: Exception) -> str:
    """Describes a decoding error without the file's location, which reports must not contain."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string)
    return str(getattr(error, "strerror", None) or error)


def _create_hasher() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
