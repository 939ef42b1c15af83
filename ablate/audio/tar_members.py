"""Tar shards: which samples they hold, and where in the shard the bytes of each sound lie.

A sample is the files of one stem, a sound and a JSON with its labels: what webdataset writes.
Headers are read once; each sound is then read on its own, in any order, by any process.
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

_BLOCK = 512  # bytes, of a tar


@dataclass(frozen=True)
class Shard:
    """A tar, and what its place says of all of its samples."""

    file: Path
    name: str  # in the paths of its clips
    task: str
    split: str = ""
    fold: str = ""
    get_label: Callable[[Any], str] | None = None  # reads a JSON; where none, samples need none
    split_key: str = ""  # of the JSON, in the place of `split`


class BadSampleError(Exception):
    """A sample that cannot be used; says why."""


@dataclass(frozen=True)
class _Sample:
    """The members of one stem."""

    sounds: tuple[tarfile.TarInfo, ...]
    described: tarfile.TarInfo | None  # its JSON


class TarMembers:
    """The clips of some shards, and where they lie."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.problems: list[tuple[str, str]] = []  # paths of samples left out, and why
        self._files = [shard.file for shard in shards]
        self._stamps = [_stamp(shard.file) for shard in shards]
        written, places = ClipTableBuilder(), array("q")
        for number, shard in enumerate(shards):
            for clip, sound in _clips(shard, self.problems):
                written.append(clip)
                places.extend((number, sound.offset_data, sound.size))
        self.clips: ClipTable = written.build()
        self._places: npt.NDArray[np.int64] = np.frombuffer(places, dtype=np.int64).reshape(-1, 3)

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one sound, as `AbstractSource.read` does. Raises `BadAudioError`."""
        return decode(io.BytesIO(self._content(index)), self.clips.paths[index])

    def content_digest(self, index: int) -> str:
        """Hashes the bytes of one sound. Raises `BadAudioError` where they cannot be read."""
        return hashlib.blake2b(self._content(index), digest_size=16).hexdigest()

    def stamp(self, index: int) -> str:
        """Tells the shard as it was when it was scanned, and the place in it."""
        number, offset, size = self._places[index].tolist()
        return f"{self._stamps[number]} {offset} {size}"

    def _content(self, index: int) -> bytes:
        number, offset, size = map(int, self._places[index])
        try:
            with self._files[number].open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            path = self.clips.paths[index]
            raise BadAudioError((path, f"cannot be read ({error})")) from error


class AbstractShards(AbstractSource):
    """A source whose sounds are members of tar shards."""

    @property
    @abstractmethod
    def _members(self) -> TarMembers:
        """The samples of the shards, which are scanned once."""

    @property
    @abstractmethod
    def _files(self) -> Sequence[Path]:
        """The shards."""

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one sound."""
        return self._members.read(index)

    def content_digest(self, index: int) -> str:
        """Hashes one sound's bytes."""
        return self._members.content_digest(index)

    def stamp(self, index: int) -> str:
        """Tells the shard, and the place in it."""
        return self._members.stamp(index)

    @property
    def skipped_clips(self) -> Sequence[tuple[str, str]]:
        """Samples that cannot be used, and shards that break off."""
        return self._members.problems

    @property
    def list_version(self) -> str:
        """Size and time of change of every shard, hashed."""
        return _compute_list_version(self._files)

    @property
    def has_files(self) -> bool:
        """A sound changes with its shard, of which `list_version` tells."""
        return False

    def _usable(self) -> ClipTable:
        """Returns the samples. Raises `BadAudioError` naming all that are bad."""
        if self._members.problems and not self.skips_bad_audio:
            raise BadAudioError(*self._members.problems)
        return self._members.clips


def _compute_list_version(files: Iterable[Path]) -> str:
    """Hashes where shards lie, how large they are and when they changed."""
    stamps = json.dumps([[str(file), _stamp(file)] for file in files])
    return hashlib.blake2b(stamps.encode(), digest_size=16).hexdigest()


def word(told: Any, key: str) -> str:
    """Reads a word, a number, or several words, joined by `;`, under a key of a sample's JSON.

    Raises `BadSampleError` where there is none.
    """
    if not isinstance(told, dict):
        raise BadSampleError(f"has a JSON that is no mapping but {json.dumps(told)[:40]}")
    if key not in told:
        raise BadSampleError(f"has no `{key}` in its JSON{did_you_mean(key, told)}")
    value = told[key]
    if isinstance(value, list) and value and all(isinstance(piece, str) for piece in value):
        return ";".join(value)
    if not isinstance(value, str | int) or value == "":
        raise BadSampleError(f"has `{key}` {json.dumps(value)[:40]}; expected a word or a number")
    return str(value)


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _clips(
    shard: Shard, problems: list[tuple[str, str]]
) -> Iterator[tuple[ClipInfo, tarfile.TarInfo]]:
    """Yields the sound samples of a shard; of the others, says what is wrong with them."""
    broken = ""
    try:
        with shard.file.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            found, broken = _samples(tar, file)
            for stem, sample in found.items():
                try:
                    yield _clip(shard, tar, sample), sample.sounds[0]
                except BadSampleError as error:
                    problems.append((f"{shard.name}/{stem}", str(error)))
    except (tarfile.TarError, OSError) as error:
        broken = f"cannot be read as an uncompressed tar ({error})"
    if broken:
        problems.append((shard.name, broken))


def _samples(tar: tarfile.TarFile, file: BinaryIO) -> tuple[dict[str, _Sample], str]:
    """Finds the samples of a tar, and says where it breaks off, if it does."""
    size = file.seek(0, os.SEEK_END)
    found: dict[str, _Sample] = {}
    last = ""
    try:
        for member in tar:
            last = member.name
            if member.offset_data + member.size > size:
                return found, f"breaks off within `{last}`"
            _sort_in(member, found)
    except tarfile.TarError:
        return found, f"breaks off after `{last}`"
    file.seek(tar.offset)
    if file.read(_BLOCK) != bytes(_BLOCK):  # what a tar ends with
        return found, f"breaks off after `{last}`"
    return found, ""


def _sort_in(member: tarfile.TarInfo, found: dict[str, _Sample]) -> None:
    name = PurePosixPath(member.name)
    if not member.isfile() or name.name.startswith("."):
        return
    stem, suffix = str(name.with_suffix("")), name.suffix.lower()
    sample = found.get(stem, _Sample((), None))
    if suffix in SUFFIXES:
        found[stem] = _Sample((*sample.sounds, member), sample.described)
    elif suffix == ".json":
        found[stem] = _Sample(sample.sounds, member)


def _clip(shard: Shard, tar: tarfile.TarFile, sample: _Sample) -> ClipInfo:
    if len(sample.sounds) != 1:
        raise BadSampleError(f"has {len(sample.sounds) or 'no'} sounds; a sample has one")
    (sound,) = sample.sounds
    if sound.size == 0:
        raise BadSampleError("is empty, 0 bytes")
    told = _told(tar, sample) if shard.get_label or shard.split_key else {}
    return ClipInfo(
        path=f"{shard.name}/{sound.name}",
        label=shard.get_label(told) if shard.get_label else "",
        task=shard.task,
        split=_split(told, shard.split_key) if shard.split_key else shard.split,
        fold=shard.fold,
    )


def _told(tar: tarfile.TarFile, sample: _Sample) -> Any:
    if sample.described is None:
        raise BadSampleError("has no JSON beside it")
    file = tar.extractfile(sample.described)
    assert file is not None  # it is a plain file
    try:
        return json.load(file)
    except ValueError as error:
        raise BadSampleError(f"has a JSON that cannot be read ({error})") from error


def _split(told: Any, key: str) -> str:
    split = word(told, key)
    if split.lower() not in SPLIT_WORDS:
        raise BadSampleError(f"has the unknown split `{split}`{did_you_mean(split, SPLITS)}")
    return SPLIT_WORDS[split.lower()]
