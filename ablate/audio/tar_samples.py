"""Finds the samples in a tar shard: the members that belong together, and their label.

A sample is an audio file and the files that describe it: a JSON file, or `.cls` or `.txt` with the
label as a text. They have the same name before the ending, or before the first dot, as webdataset
names them (`000001.audio.wav` and `000001.json`).
"""

import json
import math
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ablate.audio.clips import ClipInfo
from ablate.audio.folder_scan import AUDIO_SUFFIXES
from ablate.audio.splits import format_unknown_split, parse_split
from ablate.core.suggest import did_you_mean

_BLOCK = 512  # bytes of a tar block
_MAX_LABEL = 200  # characters; longer texts are captions


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
    has_text_labels: bool = False  # whether a `.cls` or `.txt` file may hold the label


class BadSampleError(Exception):
    """Raised for a sample that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class _Sample:
    """The members that belong together."""

    audio: tuple[tarfile.TarInfo, ...] = ()
    metadata: tarfile.TarInfo | None = None  # the JSON file
    label: tarfile.TarInfo | None = None  # the `.cls` file, or else the `.txt` file

    @property
    def is_complete(self) -> bool:
        """Whether there is sound and a description."""
        return bool(self.audio) and bool(self.metadata or self.label)


def read_clips(
    shard: Shard, problems: list[tuple[str, str]]
) -> Iterator[tuple[ClipInfo, tarfile.TarInfo]]:
    """Yields the usable samples of a shard, and adds the others to `problems`."""
    broken = ""
    try:
        with shard.file.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            samples, broken = _scan_samples(tar, file)
            samples = _join_by_key(samples)
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
    sample = samples.get(stem, _Sample())
    if suffix in AUDIO_SUFFIXES:
        samples[stem] = replace(sample, audio=(*sample.audio, member))
    elif suffix == ".json":
        samples[stem] = replace(sample, metadata=member)
    elif suffix == ".cls" or (suffix == ".txt" and sample.label is None):
        samples[stem] = replace(sample, label=member)


def _join_by_key(samples: Mapping[str, _Sample]) -> dict[str, _Sample]:
    """Joins what lacks sound or a description and has the same name before the first dot.

    Texts that belong to no sound are left out.
    """
    by_key: dict[str, list[str]] = {}
    for stem, sample in samples.items():
        if not sample.is_complete:
            name = PurePosixPath(stem)
            by_key.setdefault(str(name.with_name(name.name.split(".")[0])), []).append(stem)
    joined = dict(samples)
    for stems in by_key.values():
        parts = [samples[stem] for stem in stems]
        merged = _Sample(
            audio=tuple(member for part in parts for member in part.audio),
            metadata=next((part.metadata for part in parts if part.metadata), None),
            label=next((part.label for part in parts if part.label), None),
        )
        if len(parts) > 1 and len(merged.audio) == 1 and _describes_one(parts):
            first = next(stem for stem in stems if samples[stem].audio)
            joined = {stem: part for stem, part in joined.items() if stem not in stems} | {
                first: merged
            }
    return {stem: sample for stem, sample in joined.items() if sample.audio or sample.metadata}


def _describes_one(parts: list[_Sample]) -> bool:
    """Returns whether there is at most one description of each kind."""
    kinds = [[part.metadata for part in parts], [part.label for part in parts]]
    return all(sum(member is not None for member in members) <= 1 for members in kinds)


def _create_clip(shard: Shard, tar: tarfile.TarFile, sample: _Sample) -> ClipInfo:
    if len(sample.audio) != 1:
        raise BadSampleError(f"has {len(sample.audio) or 'no'} audio files; a sample must have one")
    (audio,) = sample.audio
    if audio.size == 0:
        raise BadSampleError("is empty, 0 bytes")
    split = shard.split
    if shard.split_key:
        split = _get_split(_read_json(tar, sample), shard.split_key)
    return ClipInfo(
        path=f"{shard.name}/{audio.name}",
        label=_get_label(shard, tar, sample) if shard.get_label else "",
        task=shard.task,
        split=split,
        fold=shard.fold,
    )


def _get_label(shard: Shard, tar: tarfile.TarFile, sample: _Sample) -> str:
    """Returns the label in the JSON, or else in a file of its own."""
    assert shard.get_label is not None
    if not shard.has_text_labels or sample.label is None:
        return shard.get_label(_read_json(tar, sample))
    try:
        return shard.get_label(_read_json(tar, sample))
    except BadSampleError:
        if sample.metadata is not None and sample.label.name.lower().endswith(".txt"):
            raise  # a text beside a JSON is a caption
    return _read_label(tar, sample.label)


def _read_label(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    suffix = PurePosixPath(member.name).suffix
    try:
        text = _read_member(tar, member).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadSampleError(f"its `{suffix}` file is not UTF-8 text") from error
    if not text or "\n" in text or len(text) > _MAX_LABEL:
        raise BadSampleError(f"its `{suffix}` file must hold one label, got {text[:40]!r}")
    return text


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # the member is a regular file
    return file.read()


def _read_json(tar: tarfile.TarFile, sample: _Sample) -> Any:
    if sample.metadata is None:
        raise BadSampleError("has no JSON file")
    try:
        return json.loads(_read_member(tar, sample.metadata))
    except ValueError as error:
        raise BadSampleError(f"its JSON cannot be parsed ({error})") from error


def _get_split(metadata: Any, key: str) -> str:
    word = get_text(metadata, key)
    split = parse_split(word)
    if not split:
        raise BadSampleError(f"has the {format_unknown_split(word)}")
    return split


def get_text(metadata: Any, key: str) -> str:
    """Returns the text, the number, or the list of texts joined by `;`, under a key of the JSON.

    A key `a.b` means the key `b` of the object under `a`, unless there is a key of that name.
    Raises `BadSampleError` for other values, and if the key is missing.
    """
    if not isinstance(metadata, dict):
        raise BadSampleError(f"its JSON must be an object, got {json.dumps(metadata)[:40]}")
    values = dict(_flatten(metadata))
    if key not in values:
        raise BadSampleError(f"has no `{key}` in its JSON{did_you_mean(key, values)}")
    value = values[key]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ";".join(value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.15g}"
    if not isinstance(value, str | int) or value == "":
        raise BadSampleError(f"has `{key}` {json.dumps(value)[:40]}; expected a text or a number")
    return str(value)


def _flatten(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested objects under keys such as `a.b`; those of outer ones last."""
    for name, value in metadata.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
    yield from ((f"{prefix}{name}", value) for name, value in metadata.items())
