"""Parquet files as a source, as data sets on the Hugging Face Hub store their audio."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ablate.audio.clips import ClipTable
from ablate.audio.data_folder import find_data_path
from ablate.audio.decoding import Channel
from ablate.audio.manifest_reader import format_problems, format_task_name_error, is_valid_task_name
from ablate.audio.parquet_rows import Columns, ParquetFile, ParquetRows
from ablate.audio.source import AbstractRecordings, Duplicates, RareClasses
from ablate.audio.tar_members import AbstractShards, get_stamp
from ablate.audio.tar_shards import find_files, infer_split
from ablate.core.distribution import format_install_command


@dataclass(frozen=True, kw_only=True)
class Parquet(AbstractShards, AbstractRecordings):
    """Rows of Parquet files, in the order of the files' names.

    The files are those of a data set that was downloaded from the Hugging Face Hub
    (`data/train-00000-of-00002.parquet`), or written by `Dataset.to_parquet`. The column of audio
    holds the bytes of a file, alone or in a struct with its path. Reading needs pyarrow.

    Args:
        files: Paths of the files, which may contain `*`, `?` and `**`; a folder stands for all
            `*.parquet` files below it.
        audio: Column of the audio.
        label: Column of the label: texts, numbers with names in the schema (`ClassLabel`), or
            lists of them. Empty: clips without labels, only to train on.
        task: Name of the task in reports. Empty: the name of the files' folder.
        split: Column of the split. Empty: the split is taken from the files' names.
        on_bad_audio: Whether broken clips and rows without a label are an error (`raise`) or are
            left out and listed in the report (`skip`).
        on_silence: Whether clips without any sound are used or left out.
        on_rare_class: Whether a class without clips to train on, or with one clip only, is an
            error, or left out and listed.
        duplicates: What to do with clips of the same bytes in two splits: `warn`, `drop` those
            outside of the test split, or `refuse`.
        channel: How several channels become one; `max_energy` takes the loudest.

    Raises:
        ValueError: if `files` or `audio` is empty, or `task` is not usable as a folder name.

    Example:
        data: {type: ablate.audio.parquet.Parquet, files: esc50/data, label: category}
    """

    non_audio_settings = (
        *("label", "task", "split", "on_bad_audio", "on_silence", "on_rare_class", "duplicates"),
    )

    files: str | tuple[str, ...]
    audio: str = "audio"
    label: str = "label"
    task: str = ""
    split: str = ""
    on_bad_audio: Literal["raise", "skip"] = "raise"
    on_silence: Literal["keep", "skip"] = "keep"
    on_rare_class: RareClasses = "raise"
    duplicates: Duplicates = "warn"
    channel: Channel = "mean"

    def __post_init__(self) -> None:
        if not self._patterns:
            raise ValueError("`files` is empty; set it to a path such as `data/*.parquet`")
        if not self.audio:
            raise ValueError("`audio` is empty; set it to the name of a column")
        if self.task and not is_valid_task_name(self.task):
            raise ValueError(format_task_name_error(self.task))

    def clips(self) -> ClipTable:
        """Lists the rows; the files are read once, without their audio.

        Raises:
            BadAudioError: for rows without a label, unless `on_bad_audio` is `skip`.
            ValueError: if pyarrow is missing, a pattern matches no file, a column is missing, a
                file's name contains no split, or the task has no usable name.
        """
        return self._get_usable_clips()

    @property
    def location(self) -> str:
        """The absolute patterns of the files."""
        return os.pathsep.join(self._patterns)

    @property
    def _channel(self) -> Channel:
        return self.channel

    @property
    def _patterns(self) -> list[str]:
        files = [self.files] if isinstance(self.files, str) else self.files
        return [str(find_data_path(file)) for file in files if file]

    @cached_property
    def _files(self) -> Sequence[Path]:
        return find_files(self._patterns, "parquet")

    @cached_property
    def _members(self) -> ParquetRows:
        if find_spec("pyarrow") is None:
            raise ValueError(f"Parquet files need pyarrow: {format_install_command('parquet')}")
        top = Path(os.path.commonpath([file.parent for file in self._files]))
        task = self.task or (top.parent if top.name == "data" else top).name
        if not is_valid_task_name(task):
            raise ValueError(f"the folder `{top}` is not usable as a task name; set `task`")
        files = [self._describe_file(file, top, task) for file in self._files]
        without = [file.name for file in files if not (file.split or file.fold or self.split)]
        if without:
            names = format_problems([f"`{name}`" for name in without])
            raise ValueError(
                f"these files' names contain no split: {names}; name them like "
                "`train-0.parquet` or `fold-1.parquet`, or set `split` to the column that holds it"
            )
        return ParquetRows(files, Columns(self.audio, self.label, self.split))

    def _describe_file(self, file: Path, top: Path, task: str) -> ParquetFile:
        split, fold = ("", "") if self.split else infer_split(file, top)
        return ParquetFile(
            file,
            name=file.relative_to(top).as_posix(),
            stamp=get_stamp(file),
            task=task,
            split=split or ("" if fold or self.split or self.label else "train"),
            fold=fold,
        )
