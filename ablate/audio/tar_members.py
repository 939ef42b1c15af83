"""Indexes the samples of tar shards: their metadata, and the byte offsets of their audio.

A sample is an audio file and a JSON file with the same stem, as webdataset writes them. Headers are
read once; each audio file is then read on its own, in any order, by any process.
"""

import hashlib
import io
import json
import os
import tarfile
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipInfo, ClipTable, ClipTableBuilder
from ablate.audio.manifest_reader import SPLIT_WORDS, SPLITS
from ablate.audio.manifest_writer import SUFFIXES
from ablate.audio.sources import AbstractSource, BadAudioError, decode
from ablate.core.suggest import did_you_mean

_BLOCK = 512  # bytes of a tar block


@dataclass(frozen=True)
class Shard:
    """A tar file and the metadata that all of its samples share."""

    file: Path
    name: str  # prefix of the paths of its clips
    task: str
    split: str = ""
    fold: str = ""
    get_label: Callable[[Any], str] | None = None  # from the parsed JSON; None: unlabelled
    split_key: str = ""  # JSON key of the split, instead of `split`


class BadSampleError(Exception):
    """Raised for a sample that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class _Sample:
    """The members with one stem."""

    audio: tuple[tarfile.TarInfo, ...]
    metadata: tarfile.TarInfo | None  # the JSON file


class TarMembers:
    """The clips of some shards, and their positions in the files."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.problems: list[tuple[str, str]] = []  # path, reason of each unusable sample
        self._files = [shard.file for shard in shards]
        self._stamps = [_stamp(shard.file) for shard in shards]
        builder, positions = ClipTableBuilder(), array("q")
        for number, shard in enumerate(shards):
            for clip, sound in _read_clips(shard, self.problems):
                builder.append(clip)
                positions.extend((number, sound.offset_data, sound.size))
        self.clips: ClipTable = builder.build()
        self._positions: npt.NDArray[np.int64] = np.frombuffer(positions, dtype=np.int64).reshape(
            -1, 3
        )

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one clip, as `AbstractSource.read` does. Raises `BadAudioError`."""
        return decode(io.BytesIO(self._content(index)), self.clips.paths[index])

    def content_digest(self, index: int) -> str:
        """Hashes the bytes of one clip. Raises `BadAudioError` if they cannot be read."""
        return hashlib.blake2b(self._content(index), digest_size=16).hexdigest()

    def stamp(self, index: int) -> str:
        """Returns the shard's state when it was scanned, and the position in it."""
        number, offset, size = self._positions[index].tolist()
        return f"{self._stamps[number]} {offset} {size}"

    def _content(self, index: int) -> bytes:
        number, offset, size = map(int, self._positions[index])
        try:
            with self._files[number].open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            path = self.clips.paths[index]
            raise BadAudioError((path, f"cannot be read ({error})")) from error


class AbstractShards(AbstractSource):
    """A source whose clips are members of tar shards."""

    @property
    @abstractmethod
    def _members(self) -> TarMembers:
        """The samples of the shards, which are scanned once."""

    @property
    @abstractmethod
    def _files(self) -> Sequence[Path]:
        """The shards."""

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes clip `index`."""
        return self._members.read(index)

    def content_digest(self, index: int) -> str:
        """Hashes the bytes of clip `index`."""
        return self._members.content_digest(index)

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
    stamps = json.dumps([[str(file), _stamp(file)] for file in files])
    return hashlib.blake2b(stamps.encode(), digest_size=16).hexdigest()


def get_text(metadata: Any, key: str) -> str:
    """Returns the text, the number, or the list of texts joined by `;`, under a key of the JSON.

    Raises `BadSampleError` for other values, and if the key is missing.
    """
    if not isinstance(metadata, dict):
        raise BadSampleError(f"its JSON must be an object, got {json.dumps(metadata)[:40]}")
    if key not in metadata:
        raise BadSampleError(f"has no `{key}` in its JSON{did_you_mean(key, metadata)}")
    value = metadata[key]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ";".join(value)
    if not isinstance(value, str | int) or value == "":
        raise BadSampleError(f"has `{key}` {json.dumps(value)[:40]}; expected a text or a number")
    return str(value)


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_clips(
    shard: Shard, problems: list[tuple[str, str]]
) -> Iterator[tuple[ClipInfo, tarfile.TarInfo]]:
    """Yields the usable samples of a shard, and adds the others to `problems`."""
    broken = ""
    try:
        with shard.file.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            samples, broken = _scan_samples(tar, file)
            for stem, sample in samples.items():
                try:
                    yield _create_clip(shard, tar, sample), sample.audio[0]
                except BadSampleError as error:
                    problems.append((f"{shard.name}/{stem}", str(error)))
    except (tarfile.TarError, OSError) as error:
        broken = f"cannot be read as an uncompressed tar ({error})"
    if broken:
        problems.append((shard.name, broken))


def _scan_samples(tar: tarfile.TarFile, file: BinaryIO) -> tuple[dict[str, _Sample], str]:
    """Returns the samples of a tar by stem, and where it is truncated (empty if complete)."""
    size = file.seek(0, os.SEEK_END)
    samples: dict[str, _Sample] = {}
    last = ""
    try:
        for member in tar:
            last = member.name
            if member.offset_data + member.size > size:
                return samples, f"is truncated within `{last}`"
            _add_member(member, samples)
    except tarfile.TarError:
        return samples, f"is truncated after `{last}`"
    file.seek(tar.offset)
    if file.read(_BLOCK) != bytes(_BLOCK):  # a complete tar ends with a block of zeros
        return samples, f"is truncated after `{last}`"
    return samples, ""


def _add_member(member: tarfile.TarInfo, samples: dict[str, _Sample]) -> None:
    name = PurePosixPath(member.name)
    if not member.isfile() or name.name.startswith("."):
        return
    stem, suffix = str(name.with_suffix("")), name.suffix.lower()
    sample = samples.get(stem, _Sample((), None))
    if suffix in SUFFIXES:
        samples[stem] = _Sample((*sample.audio, member), sample.metadata)
    elif suffix == ".json":
        samples[stem] = _Sample(sample.audio, member)


def _create_clip(shard: Shard, tar: tarfile.TarFile, sample: _Sample) -> ClipInfo:
    if len(sample.audio) != 1:
        raise BadSampleError(f"has {len(sample.audio) or 'no'} audio files; a sample must have one")
    (audio,) = sample.audio
    if audio.size == 0:
        raise BadSampleError("is empty, 0 bytes")
    metadata = _read_json(tar, sample) if shard.get_label or shard.split_key else {}
    return ClipInfo(
        path=f"{shard.name}/{audio.name}",
        label=shard.get_label(metadata) if shard.get_label else "",
        task=shard.task,
        split=_get_split(metadata, shard.split_key) if shard.split_key else shard.split,
        fold=shard.fold,
    )


def _read_json(tar: tarfile.TarFile, sample: _Sample) -> Any:
    if sample.metadata is None:
        raise BadSampleError("has no JSON file")
    file = tar.extractfile(sample.metadata)
    assert file is not None  # the member is a regular file
    try:
        return json.load(file)
    except ValueError as error:
        raise BadSampleError(f"its JSON cannot be parsed ({error})") from error


def _get_split(metadata: Any, key: str) -> str:
    split = get_text(metadata, key)
    if split.lower() not in SPLIT_WORDS:
        raise BadSampleError(f"has the unknown split `{split}`{did_you_mean(split, SPLITS)}")
    return SPLIT_WORDS[split.lower()]
