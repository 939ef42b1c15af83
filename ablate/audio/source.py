"""The interface of audio sources: a source lists labelled clips and reads each as a waveform."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipTable, compute_list_digest
from ablate.audio.hashing import create_hasher
from ablate.audio.waveform_stream import SamplesInMemory, WaveformStream

RareClasses = Literal["raise", "drop"]
Duplicates = Literal["warn", "drop", "refuse"]


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
        >>> samples, sample_rate = Tones().read(0)
        >>> len(Tones().clips()), samples.shape, sample_rate
        (120, (16000,), 16000)
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

    def stream(self, index: int) -> WaveformStream:
        """Opens clip `index` to be read block by block.

        By default the clip is read at once; a source of long files overrides this. Raises
        `BadAudioError` for a clip that cannot be used.
        """
        return SamplesInMemory(*self.read(index))

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
        hasher = create_hasher()
        hasher.update(np.ascontiguousarray(samples, dtype=np.float32).tobytes())
        hasher.update(str(sample_rate).encode())
        return hasher.hexdigest()

    def stamp(self, index: int) -> str | None:
        """Returns a text that changes when clip `index` does (as size and time of a file do).

        None if the clip is missing.
        """
        return "unchanged"

    def describe_missing(self, index: int) -> str:
        """Describes why clip `index` is missing, if `stamp` returns None."""
        return "no such file"

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

    @property
    def rare_class_policy(self) -> RareClasses:
        """What to do with classes that no probe can learn: an error, or leave them out."""
        return "raise"

    @property
    def duplicate_policy(self) -> Duplicates:
        """What to do with clips whose sound is also in another split."""
        return "warn"


class AbstractRecordings(AbstractSource):
    """A source of recordings whose settings say what is done with clips that spoil a task.

    A subclass declares these settings as fields, with its own defaults.
    """

    on_bad_audio: Literal["raise", "skip"]
    on_silence: Literal["keep", "skip"]
    on_rare_class: RareClasses
    duplicates: Duplicates

    @property
    def skips_bad_audio(self) -> bool:
        """Whether `on_bad_audio` is `skip`."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """Whether `on_silence` is `skip`."""
        return self.on_silence == "skip"

    @property
    def rare_class_policy(self) -> RareClasses:
        """The setting `on_rare_class`."""
        return self.on_rare_class

    @property
    def duplicate_policy(self) -> Duplicates:
        """The setting `duplicates`."""
        return self.duplicates
