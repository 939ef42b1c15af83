"""Indexes the samples of tar shards, and reads their audio: the base class of sources of shards.

Headers are read once; each audio file is then read on its own, in any order, by any process.
"""

import hashlib
import io
import json
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.byte_views import ByteView
from ablate.audio.clips import ClipTable, ClipTableBuilder
from ablate.audio.decoding import Channel, EncodedAudio
from ablate.audio.hashing import hash_file, specify_digest
from ablate.audio.source import AbstractSource
from ablate.audio.tar_samples import Shard, read_clips
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.machine_errors import find_remedy

_LARGE = 1 << 24  # bytes; larger members are read piece by piece


class TarMembers:
    """The clips of some shards, and their positions in the files."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.problems: list[tuple[str, str]] = []  # path, reason of each unusable sample
        self._files = [shard.file for shard in shards]
        self._stamps = [get_stamp(shard.file) for shard in shards]
        builder, positions = ClipTableBuilder(), array("q")
        for number, shard in enumerate(shards):
            for clip, sound in read_clips(shard, self.problems):
                builder.append(clip)
                positions.extend((number, sound.offset_data, sound.size))
        self.clips: ClipTable = builder.build()
        self._positions: npt.NDArray[np.int64] = np.frombuffer(positions, dtype=np.int64).reshape(
            -1, 3
        )

    def stream(self, index: int, channel: Channel = "mean") -> WaveformStream:
        """Opens one clip to be decoded block by block."""
        path = self.clips.paths[index]
        return EncodedAudio(lambda: self._open(index), path, channel=channel)

    def content_digest(self, index: int, channel: Channel = "mean") -> str:
        """Hashes the bytes of one clip. Raises `BadAudioError` if they cannot be read."""
        try:
            with self._open(index) as file:
                return specify_digest(hash_file(file), "", channel)
        except OSError as error:
            if find_remedy(error) is not None:
                raise
            path = self.clips.paths[index]
            raise BadAudioError((path, f"cannot be read ({error})")) from error

    def stamp(self, index: int) -> str:
        """Returns the shard's state when it was scanned, and the position in it."""
        number, offset, size = self._positions[index].tolist()
        return f"{self._stamps[number]} {offset} {size}"

    def _open(self, index: int) -> BinaryIO:
        number, offset, size = map(int, self._positions[index])
        file = self._files[number].open("rb")
        if size > _LARGE:
            view = ByteView(file, offset, offset + size, closes_file=True)
            return cast(BinaryIO, view)
        with file:
            file.seek(offset)
            return io.BytesIO(file.read(size))


class ShardIndex(Protocol):
    """The clips of some large files, and access to each of them."""

    problems: list[tuple[str, str]]
    clips: ClipTable

    def stream(self, index: int, channel: Channel) -> WaveformStream:
        """Opens one clip."""

    def content_digest(self, index: int, channel: Channel) -> str:
        """Hashes the bytes of one clip."""

    def stamp(self, index: int) -> str:
        """Returns the state of the file of one clip, and the position in it."""


class AbstractShards(AbstractSource):
    """A source whose clips are members of a few large files."""

    @property
    @abstractmethod
    def _members(self) -> ShardIndex:
        """The samples of the shards, which are scanned once."""

    @property
    @abstractmethod
    def _files(self) -> Sequence[Path]:
        """The shards."""

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes clip `index`."""
        stream = self.stream(index)
        return stream.read(), stream.sample_rate

    def stream(self, index: int) -> WaveformStream:
        """Opens clip `index` to be decoded block by block."""
        return self._members.stream(index, self._channel)

    def content_digest(self, index: int) -> str:
        """Hashes the bytes of clip `index`."""
        return self._members.content_digest(index, self._channel)

    @property
    def _channel(self) -> Channel:
        """How several channels become one."""
        return "mean"

    def stamp(self, index: int) -> str:
        """Returns the state of the shard of clip `index`, and the position in it."""
        return self._members.stamp(index)

    @property
    def skipped_clips(self) -> Sequence[tuple[str, str]]:
        """Samples that cannot be used, and truncated shards: (path, reason)."""
        return self._members.problems

    @property
    def list_version(self) -> str:
        """A hash of the size and modification time of every shard."""
        return _compute_list_version(self._files)

    @property
    def has_files(self) -> bool:
        """False: a clip changes with its shard, which changes `list_version`."""
        return False

    def _get_usable_clips(self) -> ClipTable:
        """Returns the clips. Raises `BadAudioError` for all bad samples, unless it skips them."""
        if self._members.problems and not self.skips_bad_audio:
            raise BadAudioError(*self._members.problems)
        return self._members.clips


def _compute_list_version(files: Iterable[Path]) -> str:
    """Hashes the paths, sizes and modification times of shards."""
    stamps = json.dumps([[str(file), get_stamp(file)] for file in files])
    return hashlib.blake2b(stamps.encode(), digest_size=16).hexdigest()


def get_stamp(file: Path) -> str:
    """Returns a text that changes when a file does: its size and modification time."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
