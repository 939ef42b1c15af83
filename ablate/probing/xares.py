"""The tasks of X-ARES as a source of clips: its tars, as they lie in its own folder.

Each clip is examined as a whole. X-ARES itself cuts the clips of some tasks (`crop_seconds` of the
table) and scores the pieces, so that its numbers and these differ there.
"""

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ablate.audio.annotations import NO_CLASS
from ablate.audio.clips import ClipTable
from ablate.audio.manifest_reader import format_problems
from ablate.audio.sources import AbstractSource
from ablate.audio.tar_members import (
    AbstractShards,
    BadSampleError,
    Shard,
    TarMembers,
    word,
)
from ablate.core.suggest import did_you_mean
from ablate.probing.xares_tasks import BY_NAME, TASKS, PublicTask

_NOT_HERE = "needs a language model, which is not supported"


@dataclass(frozen=True, kw_only=True)
class XARES(AbstractShards):
    """The public tasks whose tars lie in `folder`, each in a folder named like the task.

    Tasks that are not there, or not whole, are listed in `missing`.
    """

    non_audio_settings = ("tasks", "on_bad_audio")

    folder: str  # the one that X-ARES calls its `env`
    tasks: tuple[str, ...] = ()  # by name; all of the table if none is named
    on_bad_audio: Literal["raise", "skip"] = "raise"  # of samples without a known label, too

    def __post_init__(self) -> None:
        unknown = [name for name in self.tasks if name not in BY_NAME]
        if unknown:
            named = "; ".join(f"`{name}`{did_you_mean(name, BY_NAME)}" for name in unknown)
            raise ValueError(f"X-ARES has no public task {named}")

    def clips(self) -> ClipTable:
        """Lists the samples, task by task.

        Raises `BadAudioError` naming all that are bad, `ValueError` where no task is whole, or
        where one has more labels than the table says.
        """
        clips = self._usable()
        if surplus := _surplus(clips):
            raise ValueError(format_problems(surplus))
        return clips

    @property
    def missing(self) -> Mapping[str, str]:
        """Tasks that are asked for and cannot be examined, and why. `ValueError` if none can be."""
        return self._found[1]

    @property
    def location(self) -> str:
        """The absolute path of the folder."""
        return str(self._folder)

    @property
    def skips_bad_audio(self) -> bool:
        """As `on_bad_audio` says."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """X-ARES examines on silence, too."""
        return False

    @property
    def _files(self) -> Sequence[Path]:
        return [shard.file for shard in self._found[0]]

    @property
    def _folder(self) -> Path:
        return Path(self.folder).expanduser().absolute()

    @cached_property
    def _found(self) -> tuple[list[Shard], dict[str, str]]:
        """Finds the shards of whole tasks, and says what is missing of the others."""
        shards: list[Shard] = []
        missing: dict[str, str] = {}
        for task in [BY_NAME[name] for name in self.tasks] or TASKS:
            found, lacking = _shards(task, self._folder)
            if task.told == "text":
                missing[task.name] = _NOT_HERE
            elif lacking:
                missing[task.name] = lacking
            else:
                shards += found
        if not shards:
            wanted = "; ".join(f"{name}: {why}" for name, why in missing.items())
            raise ValueError(f"no task of X-ARES is complete in `{self._folder}`: {wanted}")
        return shards, missing

    @cached_property
    def _members(self) -> TarMembers:
        return TarMembers(self._found[0])


def missing_tasks(source: AbstractSource, found: Iterable[str]) -> Mapping[str, str]:
    """Says which public tasks a source lacks, and why; one without any public task lacks none."""
    if isinstance(source, XARES):
        return source.missing
    here = BY_NAME.keys() & set(found)
    return {task.name: "is not listed" for task in TASKS if here and task.name not in here}


def _shards(task: PublicTask, folder: Path) -> tuple[list[Shard], str]:
    """Finds a task's shards, and says which are not there."""
    home = folder / task.name
    if not home.is_dir():
        return [], "no folder of that name"
    shards, lacking = [], []
    for part, pattern in task.shards.items():
        files = sorted(home.glob(pattern))
        if not files:
            lacking.append(f"`{pattern}` ({'fold ' if task.folded else ''}{part})")
        shards += [
            Shard(
                file,
                name=os.path.relpath(file, folder),
                task=task.name,
                split="" if task.folded else part,
                fold=part if task.folded else "",
                get_label=functools.partial(_READERS[task.told], task),
            )
            for file in files
        ]
    return shards, f"there is no shard {', '.join(lacking)}" if lacking else ""


def _surplus(clips: ClipTable) -> list[str]:
    """Names the tasks that have more labels than the table says."""
    problems = []
    for name in clips.tasks.categories:
        words = clips.labels.take(np.flatnonzero(clips.tasks.equals(name))).categories
        task = BY_NAME[name]
        if task.told in ("one", "several"):
            labels = {label for held in words for label in held.split(";")}
            if len(labels) > task.num_classes:
                problems.append(
                    f"task `{name}` has {len(labels)} labels, but the table of X-ARES "
                    f"{task.num_classes}; see whether its tars are those of X-ARES"
                )
    return problems


def _one(task: PublicTask, told: Any) -> str:
    return _known(task, word(told, task.label))


def _several(task: PublicTask, told: Any) -> str:
    labels = word(told, task.label).split(";")
    return ";".join(_known(task, label) for label in labels)


def _events(task: PublicTask, told: Any) -> str:
    """Reads when what is heard: a list of labels, joined by commas, with onset and offset."""
    return _spans(
        (_known(task, label), event["onset"], event["offset"])
        for event in _listed(told, "label", "onset", "offset")
        for label in event["label"].split(",")
    )


def _notes(task: PublicTask, told: Any) -> str:
    """Reads when which note is played, by its number in MIDI."""
    return _spans(
        (str(event["note"]), event["start"], event["end"])
        for event in _listed(told, "note", "start", "end")
    )


_READERS: dict[str, Callable[[PublicTask, Any], str]] = {
    "one": _one,
    "several": _several,
    "events": _events,
    "notes": _notes,
    "text": _one,
}


def _known(task: PublicTask, label: str) -> str:
    if task.labels and label not in task.labels:
        raise BadSampleError(
            f"has the label `{label}`, which task `{task.name}` does not know"
            f"{did_you_mean(label, task.labels)}"
        )
    return label


def _listed(told: Any, *keys: str) -> list[dict[str, Any]]:
    whole = isinstance(told, list) and all(
        isinstance(event, dict) and event.keys() >= set(keys) for event in told
    )
    if not whole:
        raise BadSampleError(
            f"has a JSON that is not a list of events, each with {', '.join(keys)}"
        )
    return list(told)


def _spans(events: Iterable[tuple[str, Any, Any]]) -> str:
    """Writes events as labels that say when; those that take no time are left out."""
    spans = []
    for name, *edges in events:
        try:
            # as they will be written, where edges within a millisecond are one, and -0.0 is 0
            start, stop = (round(edge, 3) + 0.0 for edge in edges)
        except TypeError as error:
            raise BadSampleError(f"has an event whose times are not numbers ({error})") from error
        if not (0 <= start < math.inf and math.isfinite(stop)):
            raise BadSampleError(
                f"has an event from {edges[0]} to {edges[1]} s; expected seconds, from 0 on"
            )
        if start < stop:
            spans.append(f"{name}@{start:.3f}-{stop:.3f}")
    return ";".join(spans) or NO_CLASS
