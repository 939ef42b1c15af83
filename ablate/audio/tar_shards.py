"""Tar shards as a source: large data sets come as a few thousand files, not as millions.

A shard holds samples as webdataset writes them: a sound and a JSON of one stem. The library
itself is not used: it streams shards in order, and a batch here is drawn from all clips. A scan
of the tars' headers tells where each sound lies, and any process reads it from there.
"""

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ablate.audio.clips import ClipTable
from ablate.audio.manifest_reader import (
    SPLIT_WORDS,
    format_problems,
    format_task_name_error,
    is_valid_task_name,
)
from ablate.audio.tar_members import AbstractShards, Shard, TarMembers, word

_FOLD = re.compile(r"(?<![a-z])fold[-_ ]?0*(\d+)", re.IGNORECASE)  # and no `manifold-2`


@dataclass(frozen=True, kw_only=True)
class TarShards(AbstractShards):
    """Samples of tar shards, in the order of the shards' names.

    A sample's split is told by the name of its shard (`train-000.tar`), by that of the shard's
    folder (`eval/000.tar`), or by a key of its JSON; its fold by the shard's name (`fold-3.tar`).
    """

    non_audio_settings = ("label", "task", "split", "on_bad_audio", "on_silence")

    # paths, with `*` and `?` and `**` as in a shell; a folder stands for all `*.tar` below it
    shards: str | tuple[str, ...]
    label: str = "label"  # the key of the JSON to tell apart; without one, clips are trained on
    task: str = ""  # its name in reports; by default that of the shards' folder
    split: str = ""  # the key of the JSON that holds the split; by default the names tell it
    on_bad_audio: Literal["raise", "skip"] = "raise"  # of samples that lack a label, too
    on_silence: Literal["keep", "skip"] = "keep"

    def __post_init__(self) -> None:
        if not self._patterns:
            raise ValueError("`shards` names no tar; give a path such as `data/train-*.tar`")
        if self.task and not is_valid_task_name(self.task):
            raise ValueError(format_task_name_error(self.task))

    def clips(self) -> ClipTable:
        """Lists the samples; the shards are scanned once.

        Raises `BadAudioError` naming all that are bad, `ValueError` where a pattern finds no shard,
        a shard's name tells no split, or the shards' folder cannot name their task.
        """
        return self._usable()

    @property
    def location(self) -> str:
        """The absolute paths of the shards, wildcards and all."""
        return os.pathsep.join(self._patterns)

    @property
    def skips_bad_audio(self) -> bool:
        """As `on_bad_audio` says."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """As `on_silence` says."""
        return self.on_silence == "skip"

    @property
    def _patterns(self) -> list[str]:
        shards = [self.shards] if isinstance(self.shards, str) else self.shards
        return [str(Path(shard).expanduser().absolute()) for shard in shards if shard]

    @cached_property
    def _files(self) -> list[Path]:
        return _find_shards(self._patterns)

    @cached_property
    def _members(self) -> TarMembers:
        top = Path(os.path.commonpath([file.parent for file in self._files]))
        if not is_valid_task_name(self.task or top.name):  # of shards on two disks it is `/`
            raise ValueError(f"the common folder `{top}` cannot name the shards' task; set `task`")
        shards = [self._shard(file, top) for file in self._files]
        untold = [shard.name for shard in shards if not (shard.split or shard.fold or self.split)]
        if untold:
            names = format_problems([f"`{name}`" for name in untold])
            raise ValueError(
                f"the shards' names give no split: {names}; "
                "name them like `train-000.tar` or `fold-1.tar`, or name the JSON key that holds "
                "it in the setting `split`"
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
            get_label=functools.partial(word, key=self.label) if self.label else None,
            split_key=self.split,
        )


def _find_shards(patterns: Sequence[str]) -> list[Path]:
    """Finds the tars that patterns name, sorted. Raises `ValueError` for those that find none."""
    found: set[Path] = set()
    missing = []
    for pattern in patterns:
        place = Path(pattern)
        top, inside = place, "**/*.tar"
        if not place.is_dir():
            top, inside = Path(place.anchor), str(place.relative_to(place.anchor))
        files = {file for file in top.glob(inside) if file.is_file()}
        if not files:
            missing.append(f"there is no shard `{top / inside}`")
        found |= files
    if missing:
        raise ValueError("\n".join(missing))
    return sorted(found)


def infer_split(shard: Path, top: Path) -> tuple[str, str]:
    """Reads split and fold, one of them empty, from a shard's name, or its folders' up to `top`.

    The nearest name that tells one of them counts; both are empty where none does. A folder may
    be called `test_of_something`: its name tells a split only if it says nothing else, and never
    a fold.
    """
    if told := _told_by(shard.stem):
        return told
    for folder in shard.parents:
        if folder != top and top not in folder.parents:
            break
        if all(word in SPLIT_WORDS for word in _words(folder.name)) and (
            told := _told_by(folder.name)
        ):
            return told
    return "", ""


def _told_by(name: str) -> tuple[str, str] | None:
    if fold := _FOLD.search(name):
        return "", fold[1]
    told = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return (told.pop(), "") if len(told) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_\d]+", name.lower()) if word]
