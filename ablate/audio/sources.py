"""Audio files that a CSV file lists, as a source of clips."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clips import ClipTable
from ablate.audio.data_folder import find_data_path
from ablate.audio.decoding import Channel, EncodedAudio
from ablate.audio.folder_scan import describe_missing
from ablate.audio.hashing import hash_file, hash_path, specify_digest
from ablate.audio.manifest_reader import (
    check_manifest_exists,
    format_task_name_error,
    is_valid_task_name,
    read_manifest,
)
from ablate.audio.segments import TIME_COLUMNS, Segment, format_fragment, parse_times
from ablate.audio.source import AbstractRecordings, Duplicates, RareClasses
from ablate.audio.watched_file import open_watched
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.machine_errors import find_remedy
from ablate.parts import AS_BEFORE


@dataclass(frozen=True, kw_only=True)
class Folder(AbstractRecordings):
    """Audio files listed in a CSV file (the manifest), in any format that libsndfile reads.

    Columns of the manifest: `path`, relative to the manifest; the label column, with a class,
    several, or events with times (see `ablate.audio.annotations`); `split` (train, valid, test) or
    `fold`; `start` and `end` (or `onset` and `offset`) in seconds, if a clip is a part of its file;
    and `task`, if the clips belong to several tasks. Other columns are kept. A clip may be listed
    once per task, always with the same split.

    Args:
        manifest: Path of the CSV file.
        label: Column of the labels. Empty: clips without labels, only to train on.
        task: Name of the task in reports. Empty: the name of the manifest's folder.
        on_bad_audio: Whether missing and broken clips are an error, or left out and listed.
        on_silence: Whether clips without any sound are used or left out.
        on_rare_class: Whether a class without clips to train on, or with one clip only, is an
            error, or left out and listed.
        duplicates: What to do with clips of the same bytes in two splits: `warn`, `drop` those
            outside of the test split, or `refuse`.
        channel: How several channels become one; `max_energy` takes the loudest.

    Raises:
        ValueError: for a `task` that is not usable as a folder name.

    Example:
        data: {type: ablate.audio.sources.Folder, manifest: birds/manifest.csv, label: species}
    """

    non_audio_settings = (
        *("label", "task", "on_bad_audio", "on_silence", "on_rare_class", "duplicates"),
    )

    manifest: str
    label: str = "label"
    task: str = ""
    on_bad_audio: Literal["raise", "skip"] = "raise"
    on_silence: Literal["keep", "skip"] = field(default="keep", metadata={AS_BEFORE: "keep"})
    on_rare_class: RareClasses = field(default="raise", metadata={AS_BEFORE: "raise"})
    duplicates: Duplicates = field(default="warn", metadata={AS_BEFORE: "warn"})
    channel: Channel = field(default="mean", metadata={AS_BEFORE: "mean"})

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
        stream = self.stream(index)
        return stream.read(), stream.sample_rate

    def stream(self, index: int) -> WaveformStream:
        """Opens one file to be decoded block by block."""
        file, segment = self._locate(index)
        return EncodedAudio(
            lambda: open_watched(file),
            self._clips.paths[index],
            channel=self.channel,
            segment=segment,
        )

    def content_digest(self, index: int) -> str:
        """Hashes the file's bytes, the segment, and the channel unless it is the mean."""
        file, segment = self._locate(index)
        try:
            digest = hash_path(file, self.stamp(index))
        except OSError as error:  # deleted after it was listed
            if find_remedy(error) is not None:
                raise
            raise BadAudioError((self._clips.paths[index], f"cannot be read ({error})")) from error
        return specify_digest(digest, format_fragment(segment), self.channel)

    def stamp(self, index: int) -> str | None:
        """Returns the file's size and modification time; None if it is missing.

        A path that no file can have, or that this user may not use, counts as missing.
        """
        try:
            status = self._locate(index)[0].stat()
        except (OSError, ValueError) as error:
            if find_remedy(error) is not None:  # the disk does not answer
                raise
            return None
        return f"{status.st_size} {status.st_mtime_ns}"

    def describe_missing(self, index: int) -> str:
        """Describes a missing file, with one of a similar name."""
        return describe_missing(self._locate(index)[0])

    @property
    def location(self) -> str:
        """The manifest's absolute path."""
        return str(self._manifest)

    @property
    def _manifest(self) -> Path:
        return find_data_path(self.manifest).resolve()

    @cached_property
    def _list_version(self) -> str:
        check_manifest_exists(self._manifest)
        with self._manifest.open("rb") as file:
            return hash_file(file)

    @cached_property
    def _clips(self) -> ClipTable:
        # hashed before it is read: if the file changes in between, the hash is outdated
        _ = self._list_version
        task = self.task or self._manifest.parent.name
        return read_manifest(self._manifest, label=self.label, task=task)

    def _locate(self, index: int) -> tuple[Path, Segment | None]:
        """Returns the file of a clip, and which part of it the clip is."""
        path, extra = self._clips.paths[index], self._clips.extra
        times = {name: extra[name][index] for name in TIME_COLUMNS if name in extra}
        segment = parse_times(times) if times else None
        return self._manifest.parent / path.removesuffix(format_fragment(segment)), segment
