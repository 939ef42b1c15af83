"""Checks that labels and splits allow probes to be trained and tested on them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import (
    check_not_numbers,
    check_same_numbers,
    infer_label_kind,
    parse_classes,
)
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.manifest_reader import format_problems

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassProblem:
    """A class that no probe can learn."""

    label: str
    task: str
    clips: Indices  # the clips that have it
    reason: str


def check_labels(clips: ClipTable | Iterable[ClipInfo]) -> None:
    """Checks that every task can be probed and that no clip is in two splits.

    A task needs at least two labels and some test clips. Each label needs at least two clips, one
    of them for training; with folds, its clips must be in at least two folds.

    Raises:
        ValueError: with the first five problems and the number of the others.
    """
    table = ClipTable.from_clips(clips)
    if not len(table):
        raise ValueError("the source has no clips; list some in the manifest, one per line")
    if table.labels.categories == ("",):
        raise ValueError(
            "no clip has a label, so there is nothing to probe; set `label` to the column or key "
            "that holds labels, or probe other clips with the study's `tasks`"
        )
    tasks = range(len(table.tasks.categories))
    members = [np.flatnonzero(table.tasks.codes == task) for task in tasks]
    problems = [problem for indices in members for problem in _find_task_problems(table, indices)]
    problems += _find_split_conflicts(table, np.concatenate(members))
    if problems:
        raise ValueError(format_problems(problems))


def _find_task_problems(clips: ClipTable, indices: Indices) -> list[str]:
    """Returns why the task with these clips cannot be probed; empty if it can."""
    task = clips.tasks[int(indices[0])]
    has_no_fold, is_test = clips.folds.equals("")[indices], clips.splits.equals("test")[indices]
    if has_no_fold.any() and not has_no_fold.all():
        return [f"task `{task}` has a `split` for some clips and a `fold` for others; use one"]
    problems = []
    if has_no_fold.all() and not is_test.any():
        problems.append(f"task `{task}` has no clip with split `test` to score on; add some")
    if (clips.labels.codes[indices] == clips.labels.codes[indices[0]]).all():
        problems.append(
            f"task `{task}` has one label only (`{clips.labels[int(indices[0])]}`), so "
            "there is nothing to learn; add clips of another label or leave the task out"
        )
    try:
        rare = _find_rare_classes(clips, indices)
    except ValueError as error:
        return [*problems, f"task `{task}`: {error}"]
    for problem in rare:
        name = f"label `{problem.label}` of task `{task}`"
        remedy = "add clips, leave the label out, or set `on_rare_class: drop`"
        problems.append(f"{name} {problem.reason}; {remedy}")
    return problems


def find_class_problems(clips: ClipTable) -> list[ClassProblem]:
    """Returns the classes of all tasks that no probe can learn.

    Tasks whose labels cannot be parsed are left to `check_labels`.
    """
    problems = []
    for task in range(len(clips.tasks.categories)):
        indices = np.flatnonzero(clips.tasks.codes == task)
        with contextlib.suppress(ValueError):
            problems += _find_rare_classes(clips, indices)
    return problems


def _find_rare_classes(clips: ClipTable, indices: Indices) -> list[ClassProblem]:
    """Returns the classes of one task that cannot be learnt, sorted by name."""
    labels = clips.labels.codes[indices]
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    groups = np.split(indices[order], starts[1:])
    by_class = _group_by_class({clips.labels[int(group[0])]: group for group in groups})
    task = clips.tasks[int(indices[0])]
    return [
        ClassProblem(label, task, group, reason)
        for label, group in sorted(by_class.items())
        if (reason := _find_class_problem(clips, group))
    ]


def _group_by_class(cells: Mapping[str, Indices]) -> dict[str, Indices]:
    """Groups the clips by class, given the clips of each cell (which may name several classes)."""
    kind = infer_label_kind(cells)
    if kind == "numbers":
        check_same_numbers(cells)
    else:
        check_not_numbers({cell: len(group) for cell, group in cells.items()})
    groups: dict[str, list[Indices]] = {}
    for cell, group in cells.items():
        for name in parse_classes(cell, kind):
            groups.setdefault(name, []).append(group)
    return {name: np.sort(np.concatenate(parts)) for name, parts in groups.items()}


def _find_class_problem(clips: ClipTable, group: Indices) -> str:
    """Returns why a class cannot be learnt from these clips; empty if it can."""
    first = clips[int(group[0])]
    if len(group) == 1:
        return f"has only one clip (`{first.path}`)"
    if first.fold:
        folds = clips.folds.codes[group]
        return f"has clips in fold `{first.fold}` only" if (folds == folds[0]).all() else ""
    is_train = clips.splits.codes[group] == clips.splits.get_code("train")
    return "" if is_train.any() else "has no clip with split `train`"


def _find_split_conflicts(clips: ClipTable, order: Indices) -> Iterator[str]:
    """Yields the clips with different splits in two tasks: a test clip would be trained on."""
    split = np.where(clips.folds.equals(""), clips.splits.codes, -1)
    _, first, which = np.unique(
        clips.first_with_path[order], return_index=True, return_inverse=True
    )
    earlier = order[first[which]]
    differs = split[order] != split[earlier]
    for index, other in zip(order[differs], earlier[differs], strict=True):
        clip, before = clips[int(index)], clips[int(other)]
        yield (
            f"`{clip.path}` has {_describe_split(before)} in task `{before.task}` but "
            f"{_describe_split(clip)} in task `{clip.task}`; give it the same split in both, or "
            "drop it from one"
        )


def _describe_split(clip: ClipInfo) -> str:
    return "a fold" if clip.fold else f"split `{clip.split}`"
