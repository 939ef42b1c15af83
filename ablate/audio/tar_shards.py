"""Tar shards as a source, for large datasets that are stored in a few thousand files.

Shards are in webdataset's format: an audio file and a JSON file, or a `.cls` or `.txt` file, with
the same name per sample. The webdataset library is not used, because it streams shards in order
while batches here are drawn from all clips: the tar headers are scanned once, then any process
reads any sample at its offset.
"""

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from ablate.audio.clips import ClipTable
from ablate.audio.data_folder import find_data_path
from ablate.audio.decoding import Channel
from ablate.audio.manifest_reader import format_problems, format_task_name_error, is_valid_task_name
from ablate.audio.source import AbstractRecordings, Duplicates, RareClasses
from ablate.audio.splits import SPLIT_WORDS, find_split, split_words
from ablate.audio.tar_members import AbstractShards, TarMembers
from ablate.audio.tar_samples import Shard, get_text
from ablate.parts import AS_BEFORE

_FOLD = re.compile(r"(?<![a-z])fold[-_ ]?0*(\d+)", re.IGNORECASE)  # does not match `manifold-2`


@dataclass(frozen=True, kw_only=True)
class TarShards(AbstractShards, AbstractRecordings):
    """Samples of tar shards, in the order of the shards' names.

    The split of a sample comes from the name of its shard (`train-000.tar`), from the name of the
    shard's folder (`eval/000.tar`), or from a key of its JSON; its fold from the shard's name
    (`fold-3.tar`).

    Args:
        shards: Paths of the shards, which may contain `*`, `?` and `**`; a folder stands for all
            `*.tar` files below it.
        label: JSON key of the label, such as `class` or `original_data.class`; without such a key
            the label is the text of a `.cls` or `.txt` file. Empty: clips without labels, only to
            train on.
        task: Name of the task in reports. Empty: the name of the shards' folder.
        split: JSON key of the split. Empty: the split is taken from the shards' names.
        on_bad_audio: Whether missing and broken clips are an error (`raise`) or are left out and
            listed in the report (`skip`); also for samples without a label.
        on_silence: Whether clips without any sound are used or left out.
        on_rare_class: Whether a class without clips to train on, or with one clip only, is an
            error, or left out and listed.
        duplicates: What to do with clips of the same bytes in two splits: `warn`, `drop` those
            outside of the test split, or `refuse`.
        channel: How several channels become one; `max_energy` takes the loudest.

    Raises:
        ValueError: if `shards` is empty, or `task` is not usable as a folder name.

    Example:
        data: {type: ablate.audio.tar_shards.TarShards, shards: data/**/*.tar, label: class}
    """

    non_audio_settings = (
        *("label", "task", "split", "on_bad_audio", "on_silence", "on_rare_class", "duplicates"),
    )

    shards: str | tuple[str, ...]
    label: str = "label"
    task: str = ""
    split: str = ""
    on_bad_audio: Literal["raise", "skip"] = "raise"
    on_silence: Literal["keep", "skip"] = "keep"
    on_rare_class: RareClasses = field(default="raise", metadata={AS_BEFORE: "raise"})
    duplicates: Duplicates = field(default="warn", metadata={AS_BEFORE: "warn"})
    channel: Channel = field(default="mean", metadata={AS_BEFORE: "mean"})

    def __post_init__(self) -> None:
        if not self._patterns:
            raise ValueError("`shards` is empty; set it to a path such as `data/train-*.tar`")
        if self.task and not is_valid_task_name(self.task):
            raise ValueError(format_task_name_error(self.task))

    def clips(self) -> ClipTable:
        """Lists the samples; the shards are scanned once.

        Raises:
            BadAudioError: for all bad samples, unless `on_bad_audio` is `skip`.
            ValueError: if a pattern matches no shard, a shard's name contains no split, or the
                task has no usable name.
        """
        return self._get_usable_clips()

    @property
    def location(self) -> str:
        """The absolute patterns of the shards."""
        return os.pathsep.join(self._patterns)

    @property
    def _channel(self) -> Channel:
        return self.channel

    @property
    def _patterns(self) -> list[str]:
        shards = [self.shards] if isinstance(self.shards, str) else self.shards
        return [str(find_data_path(shard)) for shard in shards if shard]

    @cached_property
    def _files(self) -> list[Path]:
        return find_files(self._patterns, "tar")

    @cached_property
    def _members(self) -> TarMembers:
        top = Path(os.path.commonpath([file.parent for file in self._files]))
        if not is_valid_task_name(self.task or top.name):  # it is `/` for shards on two disks
            raise ValueError(
                f"the shards' common folder `{top}` is not usable as a task name; set `task`"
            )
        shards = [self._shard(file, top) for file in self._files]
        without = [shard.name for shard in shards if not (shard.split or shard.fold or self.split)]
        if without:
            names = format_problems([f"`{name}`" for name in without])
            raise ValueError(
                f"these shards' names contain no split: {names}; "
                "name them like `train-000.tar` or `fold-1.tar`, or set `split` to the JSON "
                "key that holds it"
            )
        return TarMembers(shards)

    def _shard(self, file: Path, top: Path) -> Shard:
        split, fold = ("", "") if self.split else infer_split(file, top)
        return Shard(
            file,
            name=file.relative_to(top).as_posix(),
            task=self.task or top.name,
            split=split or ("" if fold or self.split or self.label else "train"),
            fold=fold,
            get_label=functools.partial(get_text, key=self.label) if self.label else None,
            split_key=self.split,
            has_text_labels=True,
        )


def find_files(patterns: Sequence[str], suffix: str) -> list[Path]:
    """Returns the files that match the patterns, sorted; of folders, those with the suffix.

    Raises `ValueError` for patterns without a match.
    """
    shards: set[Path] = set()
    missing = []
    for pattern in patterns:
        path = Path(pattern)
        top, glob = path, f"**/*.{suffix}"
        if not path.is_dir():
            top, glob = Path(path.anchor), str(path.relative_to(path.anchor))
        files = {file for file in top.glob(glob) if file.is_file()}
        if not files:
            missing.append(f"no file matches `{top / glob}`; check the path")
        shards |= files
    if missing:
        raise ValueError("\n".join(missing))
    return sorted(shards)


def infer_split(shard: Path, top: Path) -> tuple[str, str]:
    """Infers (split, fold) from the name of a shard, or from its folders up to `top`.

    The nearest name that contains either is used; the other is empty, and both are if no name does.
    A folder's name is used only if it consists of words for splits alone, so that
    `test_of_something` is not taken for a split.
    """
    if inferred := _parse_name(shard.stem):
        return inferred
    for folder in shard.parents:
        if folder != top and top not in folder.parents:
            break
        if all(part in SPLIT_WORDS for part in split_words(folder.name)) and (
            inferred := _parse_name(folder.name)
        ):
            return inferred
    return "", ""


def _parse_name(name: str) -> tuple[str, str] | None:
    if fold := _FOLD.search(name):
        return "", fold[1]
    split = find_split(name)
    return (split, "") if split else None
