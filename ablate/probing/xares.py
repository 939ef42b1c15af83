"""The tasks of X-ARES as a source of clips: reads the tar files in the folder of X-ARES.

Each clip is scored as a whole, unless a probe follows the official protocol (`protocol: official`
of `XaresKNN` and `XaresLinear`).
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
from ablate.audio.data_folder import find_data_path
from ablate.audio.manifest_reader import format_problems
from ablate.audio.source import AbstractSource
from ablate.audio.tar_members import AbstractShards, TarMembers
from ablate.audio.tar_samples import BadSampleError, Shard, get_text
from ablate.core.suggest import did_you_mean
from ablate.probing.xares_tasks import TASKS, TASKS_BY_NAME, PublicTask

_UNSUPPORTED = {
    "librispeech": "recognises words by fine-tuning Qwen2.5-0.5B, which is not supported",
    "clotho": "retrieves captions by BERT's tokenizer and an embedding of words trained with the "
    "probe, which is not supported",
}


@dataclass(frozen=True, kw_only=True)
class XARES(AbstractShards):
    """The public tasks of X-ARES whose tar files are in `folder`, one sub-folder per task.

    Tasks that are missing or incomplete are listed in `missing`.

    Args:
        folder: The folder that X-ARES calls `env`.
        tasks: Names of tasks. Empty: all public tasks.
        on_bad_audio: Whether missing and broken clips are an error (`raise`) or are left out and
            listed in the report (`skip`); also for samples without a known label.

    Example:
        tasks: {type: ablate.probing.xares.XARES, folder: env, tasks: [esc50, gtzan_genre]}
    """

    non_audio_settings = ("tasks", "on_bad_audio")

    folder: str
    tasks: tuple[str, ...] = ()
    on_bad_audio: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        unknown = [name for name in self.tasks if name not in TASKS_BY_NAME]
        if unknown:
            names = "; ".join(f"`{name}`{did_you_mean(name, TASKS_BY_NAME)}" for name in unknown)
            raise ValueError(f"X-ARES has no public task {names}")

    def clips(self) -> ClipTable:
        """Lists the samples, task by task.

        Raises:
            BadAudioError: Names all bad samples.
            ValueError: No task is complete, or one has more labels than the table states.
        """
        clips = self._get_usable_clips()
        if problems := _check_num_labels(clips):
            raise ValueError(format_problems(problems))
        return clips

    @property
    def missing(self) -> Mapping[str, str]:
        """Requested tasks that cannot be scored, and why. Raises `ValueError` if none can be."""
        return self._shards_and_missing[1]

    @property
    def location(self) -> str:
        """The absolute path of the folder."""
        return str(self._folder)

    @property
    def skips_bad_audio(self) -> bool:
        """Whether `on_bad_audio` is `skip`."""
        return self.on_bad_audio == "skip"

    @property
    def skips_silence(self) -> bool:
        """X-ARES scores silent clips, too."""
        return False

    @property
    def _files(self) -> Sequence[Path]:
        return [shard.file for shard in self._shards_and_missing[0]]

    @property
    def _folder(self) -> Path:
        return find_data_path(self.folder)

    @cached_property
    def _shards_and_missing(self) -> tuple[list[Shard], dict[str, str]]:
        """Finds the shards of complete tasks, and what is missing for the others."""
        shards: list[Shard] = []
        missing: dict[str, str] = {}
        for task in [TASKS_BY_NAME[name] for name in self.tasks] or TASKS:
            task_shards, problem = _find_shards(task, self._folder)
            if task.label_format == "text":
                missing[task.name] = _UNSUPPORTED[task.name]
            elif problem:
                missing[task.name] = problem
            else:
                shards += task_shards
        if not shards:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise ValueError(f"no task of X-ARES is complete in `{self._folder}`: {reasons}")
        return shards, missing

    @cached_property
    def _members(self) -> TarMembers:
        return TarMembers(self._shards_and_missing[0])


def find_missing_tasks(source: AbstractSource, names: Iterable[str]) -> Mapping[str, str]:
    """Finds the public tasks that a source lacks, and why; {} if it has no public task at all.

    `names` are the tasks of the source.
    """
    if isinstance(source, XARES):
        return source.missing
    present = TASKS_BY_NAME.keys() & set(names)
    return {task.name: "is not listed" for task in TASKS if present and task.name not in present}


def _find_shards(task: PublicTask, folder: Path) -> tuple[list[Shard], str]:
    """Finds the shards of a task, and describes those that are missing."""
    task_folder = folder / task.name
    if not task_folder.is_dir():
        return [], "no folder of that name"
    shards, missing = [], []
    for part, pattern in task.shards.items():
        files = sorted(task_folder.glob(pattern))
        if not files:
            missing.append(f"`{pattern}` ({'fold ' if task.folded else ''}{part})")
        shards += [
            Shard(
                file,
                name=os.path.relpath(file, folder),
                task=task.name,
                split="" if task.folded else part,
                fold=part if task.folded else "",
                get_label=functools.partial(_PARSERS[task.label_format], task),
            )
            for file in files
        ]
    return shards, f"there is no shard {', '.join(missing)}" if missing else ""


def _check_num_labels(clips: ClipTable) -> list[str]:
    """Describes the tasks that have more labels than the table states."""
    problems = []
    for name in clips.tasks.categories:
        cells = clips.labels.take(np.flatnonzero(clips.tasks.equals(name))).categories
        task = TASKS_BY_NAME[name]
        if task.label_format in ("one", "several"):
            labels = {label for cell in cells for label in cell.split(";")}
            if len(labels) > task.num_classes:
                problems.append(
                    f"task `{name}` has {len(labels)} labels, but the table of X-ARES lists "
                    f"{task.num_classes}; check that the tar files are those of X-ARES"
                )
    return problems


def _parse_label(task: PublicTask, content: Any) -> str:
    return _check_label(task, get_text(content, task.label))


def _parse_labels(task: PublicTask, content: Any) -> str:
    labels = get_text(content, task.label).split(";")
    return ";".join(_check_label(task, label) for label in labels)


def _parse_events(task: PublicTask, content: Any) -> str:
    """Parses events: a list of labels, joined by commas, with onset and offset in seconds."""
    return _format_events(
        (_check_label(task, label), event["onset"], event["offset"])
        for event in _check_events(content, "label", "onset", "offset")
        for label in event["label"].split(",")
    )


def _parse_notes(task: PublicTask, content: Any) -> str:
    """Parses notes: MIDI numbers with start and end in seconds."""
    return _format_events(
        (str(event["note"]), event["start"], event["end"])
        for event in _check_events(content, "note", "start", "end")
    )


_PARSERS: dict[str, Callable[[PublicTask, Any], str]] = {
    "one": _parse_label,
    "several": _parse_labels,
    "events": _parse_events,
    "notes": _parse_notes,
    "text": _parse_label,
}


def _check_label(task: PublicTask, label: str) -> str:
    if task.labels and label not in task.labels:
        raise BadSampleError(
            f"has the label `{label}`, which task `{task.name}` does not have"
            f"{did_you_mean(label, task.labels)}"
        )
    return label


def _check_events(content: Any, *keys: str) -> list[dict[str, Any]]:
    is_valid = isinstance(content, list) and all(
        isinstance(event, dict) and event.keys() >= set(keys) for event in content
    )
    if not is_valid:
        raise BadSampleError(
            f"has a JSON that is not a list of events, each with {', '.join(keys)}"
        )
    return list(content)


def _format_events(events: Iterable[tuple[str, Any, Any]]) -> str:
    """Formats events as a label with times; events without duration are left out."""
    labels = []
    for name, *edges in events:
        try:
            # rounded as they are written: to milliseconds, and -0.0 to 0
            start, stop = (round(edge, 3) + 0.0 for edge in edges)
        except TypeError as error:
            raise BadSampleError(f"has an event whose times are not numbers ({error})") from error
        if not (0 <= start < math.inf and math.isfinite(stop)):
            raise BadSampleError(
                f"has an event from {edges[0]} to {edges[1]} s; expected finite times from 0 on"
            )
        if start < stop:
            labels.append(f"{name}@{start:.3f}-{stop:.3f}")
    return ";".join(labels) or NO_CLASS
