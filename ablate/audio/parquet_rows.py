"""Indexes the rows of Parquet files as the Hugging Face Hub stores audio, and reads their sound.

A row has a column `audio`, which holds the bytes of an audio file, and columns for its label and
perhaps its split. `datasets` is not used: it decodes with a library of its own, and copies all
tables to a cache. Files are read in groups of rows, in any order, by any process.
"""

import functools
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clips import ClipInfo, ClipTable, ClipTableBuilder
from ablate.audio.decoding import Channel, EncodedAudio
from ablate.audio.hashing import create_hasher, specify_digest
from ablate.audio.splits import format_unknown_split, parse_split
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.machine_errors import find_remedy


class ParquetFile(NamedTuple):
    """A Parquet file, and what all its rows have in common."""

    file: Path
    name: str  # relative to the folder of all files
    stamp: str  # size and modification time
    task: str
    split: str  # empty if a column holds it
    fold: str


class Columns(NamedTuple):
    """The names of the columns; empty if there is none."""

    audio: str
    label: str
    split: str


class ParquetRows:
    """The clips in some Parquet files, and their places in the files."""

    def __init__(self, files: Sequence[ParquetFile], columns: Columns) -> None:
        self.problems: list[tuple[str, str]] = []  # path, reason of each unusable row
        self._column = columns.audio
        self._places: list[tuple[ParquetFile, int, int]] = []  # file, group of rows, row in it
        builder = ClipTableBuilder()
        for file in files:
            for clip, group, row in _read_clips(file, columns):
                if clip.label or not columns.label:
                    builder.append(clip)
                    self._places.append((file, group, row))
                else:
                    self.problems.append((clip.path, f"has no label in column `{columns.label}`"))
        self.clips: ClipTable = builder.build()

    def stream(self, index: int, channel: Channel = "mean") -> WaveformStream:
        """Opens one clip to be decoded block by block."""
        path = self.clips.paths[index]
        return EncodedAudio(lambda: io.BytesIO(self._read_bytes(index)), path, channel=channel)

    def content_digest(self, index: int, channel: Channel = "mean") -> str:
        """Hashes the bytes of one clip. Raises `BadAudioError` if they cannot be read."""
        hasher = create_hasher()
        hasher.update(self._read_bytes(index))
        return specify_digest(hasher.hexdigest(), "", channel)

    def stamp(self, index: int) -> str:
        """Returns the file's state when it was listed, and the place in it."""
        file, group, row = self._places[index]
        return f"{file.stamp} {group} {row}"

    def _read_bytes(self, index: int) -> bytes:
        file, group, row = self._places[index]
        path = self.clips.paths[index]
        try:
            cell = _read_group(file, group, self._column)[row].as_py()
        except OSError as error:
            if find_remedy(error) is not None:
                raise
            raise BadAudioError((path, f"cannot be read ({error})")) from error
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise BadAudioError((path, f"holds no bytes of a file in column `{self._column}`"))
        return content


@functools.lru_cache(maxsize=2)  # clips are mostly read in the order of the rows
def _read_group(file: ParquetFile, group: int, column: str) -> Any:
    """Reads the cells of one column in a group of rows."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file.file) as table:
        return table.read_row_group(group, columns=[column]).column(column)


def _read_clips(file: ParquetFile, columns: Columns) -> Iterator[tuple[ClipInfo, int, int]]:
    """Yields every clip of a file, with its place. Sound is not read.

    Raises `ValueError` for a column that is missing, or a split that is none.
    """
    import pyarrow.parquet

    wanted = [column for column in (columns.label, columns.split) if column]
    with pyarrow.parquet.ParquetFile(file.file) as table:
        schema = table.schema_arrow
        for column in (columns.audio, *wanted):
            if column not in schema.names:
                present = ", ".join(schema.names)
                raise ValueError(f"`{file.name}` has no column `{column}`; it has {present}")
        names = _read_class_names(schema.metadata or {}, columns.label)
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=wanted)
            labels = rows.column(columns.label).to_pylist() if columns.label else []
            splits = rows.column(columns.split).to_pylist() if columns.split else []
            for row in range(table.metadata.row_group(group).num_rows):
                yield (
                    ClipInfo(
                        path=f"{file.name}/{group}/{row}",
                        label=_format_label(labels[row], names) if labels else "",
                        task=file.task,
                        split=_parse_split(splits[row], file) if splits else file.split,
                        fold=file.fold,
                    ),
                    group,
                    row,
                )


def _read_class_names(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """Returns the names of a column's classes, as `datasets` stores them in a schema."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    feature = features.get(column, {})
    feature = feature.get("feature", feature)  # a list of labels nests it
    names = feature.get("names", [])
    return [str(name) for name in names]


def _format_label(cell: Any, names: Sequence[str]) -> str:
    """Formats a label, `dog`, or several, `dog;rain`; numbers are replaced by their names.

    `datasets` writes a missing label as -1.
    """
    labels = []
    for each in cell if isinstance(cell, list) else [cell]:
        if names and isinstance(each, int):
            labels.append(names[each] if each >= 0 else "")
        else:
            labels.append("" if each is None else str(each))
    return ";".join(labels)


def _parse_split(cell: Any, file: ParquetFile) -> str:
    split = parse_split(str(cell))
    if not split:
        raise ValueError(f"`{file.name}`: {format_unknown_split(str(cell))}")
    return split
