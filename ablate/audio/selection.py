"""Excludes duplicates across splits, and classes that are too rare.

A probe that is tested on a clip that it was trained on scores too high; a class without clips to
train on cannot be learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import (
    LabelKind,
    infer_label_kind,
    parse_events,
    parse_numbers,
    split_cell,
)
from ablate.audio.clips import ClipTable
from ablate.audio.column_file import CategoricalBuilder
from ablate.audio.labels import Indices, find_class_problems
from ablate.audio.segments import FRAGMENT

_MAX_PAIRS = 3  # pairs that a message lists
_RANKS = {"test": 0, "valid": 1, "train": 2}  # the clip with the lowest rank is kept


@dataclass(frozen=True)
class Selection:
    """Some clips of a table.

    Attributes:
        clips: the clips that are kept, with the labels that are kept.
        kept: (clips,), their places in the table.
        skipped: (path, reason) of the others.
        notes: what was found, in sentences.
    """

    clips: ClipTable
    kept: Indices
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def drop_rare_classes(clips: ClipTable) -> Selection:
    """Leaves out the classes that no probe can learn, and clips that have no other class."""
    table, kept = clips, np.arange(len(clips))
    skipped: list[tuple[str, str]] = []
    notes: list[str] = []
    while problems := find_class_problems(table):
        removed: dict[int, set[str]] = {}
        for problem in problems:
            for index in problem.clips.tolist():
                removed.setdefault(index, set()).add(problem.label)
            notes.append(
                f"label `{problem.label}` of task `{problem.task}` {problem.reason}; it was "
                f"dropped from {len(problem.clips)} clips"
            )
        labels = list(map(table.labels.__getitem__, range(len(table))))
        kinds = {task: infer_label_kind(labels) for task, labels in _group_labels(table).items()}
        for index, classes in removed.items():
            labels[index] = _remove(labels[index], classes, kinds[table.tasks[index]])
        stays = np.array(
            [bool(label) or index not in removed for index, label in enumerate(labels)]
        )
        for index in np.flatnonzero(~stays).tolist():
            names = ", ".join(f"`{name}`" for name in sorted(removed[index]))
            skipped.append((table.paths[index], f"has no label but {names}, which was dropped"))
        places = np.flatnonzero(stays)
        kept, table = kept[places], _replace_labels(table.take(places), [labels[i] for i in places])
    return Selection(table, kept, tuple(skipped), tuple(notes))


def _group_labels(clips: ClipTable) -> dict[str, set[str]]:
    grouped: dict[str, set[str]] = {}
    pairs = np.unique(np.stack([clips.tasks.codes, clips.labels.codes]), axis=1)
    for task, label in pairs.T.tolist():
        name = clips.tasks.categories[task]
        grouped.setdefault(name, set()).add(clips.labels.categories[label])
    return grouped


def _remove(cell: str, classes: set[str], kind: LabelKind) -> str:
    """Removes classes from a label cell; returns an empty text if none is left."""
    if kind == "single":
        return ""
    names = parts = split_cell(cell)
    if kind == "events":
        names = [event.name for event in parse_events(cell)]
    elif kind == "numbers":
        names = list(parse_numbers(cell))
    return ";".join(part for part, name in zip(parts, names, strict=True) if name not in classes)


def _replace_labels(clips: ClipTable, labels: Sequence[str]) -> ClipTable:
    builder = CategoricalBuilder()
    for label in labels:
        builder.append(label)
    columns = {name: getattr(clips, name) for name in clips.__dataclass_fields__}
    return ClipTable(**{**columns, "labels": builder.build()})


def find_duplicates(clips: ClipTable, digests: npt.NDArray[np.bytes_]) -> list[Indices]:
    """Returns the groups of clips whose sound is the same and whose splits or folds differ.

    Args:
        clips: the clips.
        digests: (clips,), the content digest of each.
    """
    first = np.flatnonzero(clips.first_with_path == np.arange(len(clips)))
    parts = _get_parts(clips)
    order = first[np.argsort(digests[first], kind="stable")]
    borders = np.flatnonzero(digests[order][1:] != digests[order][:-1]) + 1
    groups = [group for group in np.split(order, borders) if len(group) > 1]
    return [group for group in groups if (parts[group] != parts[group[0]]).any()]


def find_divided_files(clips: ClipTable) -> list[str]:
    """Returns the files of which segments are in two splits or folds."""
    parts, first = _get_parts(clips).tolist(), dict[str, int]()
    divided = dict[str, None]()
    for path, part in zip(clips.paths, parts, strict=True):
        file, fragment, _ = path.partition(FRAGMENT)
        if fragment and first.setdefault(file, part) != part:
            divided[file] = None
    return list(divided)


def describe_divided_files(files: Sequence[str]) -> str:
    """Counts and names the files that `find_divided_files` returns."""
    names = ", ".join(f"`{file}`" for file in files[:_MAX_PAIRS])
    more = f" and {len(files) - _MAX_PAIRS} more" if len(files) > _MAX_PAIRS else ""
    return (
        f"{len(files)} files have segments in two splits: {names}{more}; a probe may recognise the "
        "recording: put all segments of a file into one split"
    )


def drop_duplicates(clips: ClipTable, groups: Sequence[Indices]) -> Selection:
    """Leaves out all but the clips of one split of each group: test before valid before train."""
    stays = np.ones(len(clips), dtype=np.bool_)
    parts, skipped = _get_parts(clips), []
    for group in groups:
        chosen = min(group.tolist(), key=lambda index: _RANKS.get(clips.splits[index], 0))
        for index in group[parts[group] != parts[chosen]].tolist():
            stays[clips.first_with_path == index] = False
            name = f"`{clips.paths[chosen]}` in {_describe_part(clips, chosen)}"
            skipped.append((clips.paths[index], f"is the same sound as {name}"))
    kept = np.flatnonzero(stays)
    return Selection(clips.take(kept), kept, tuple(skipped))


def describe_duplicates(clips: ClipTable, groups: Sequence[Indices]) -> str:
    """Counts and names the clips that are in two splits."""
    number = sum(len(group) for group in groups)
    pairs = "; ".join(_describe_pair(clips, group) for group in groups[:_MAX_PAIRS])
    more = f"; and {len(groups) - _MAX_PAIRS} more sounds" if len(groups) > _MAX_PAIRS else ""
    return f"{number} clips are duplicates of one sound in two splits: {pairs}{more}"


def _describe_pair(clips: ClipTable, group: Indices) -> str:
    parts = _get_parts(clips)
    other = int(group[parts[group] != parts[group[0]]][0])
    both = (int(group[0]), other)
    return " = ".join(f"`{clips.paths[i]}` ({_describe_part(clips, i)})" for i in both)


def _get_parts(clips: ClipTable) -> npt.NDArray[np.int64]:
    """Returns a number per clip, equal for clips of one split or fold."""
    has_fold = ~clips.folds.equals("")
    folds = clips.folds.codes.astype(np.int64) + len(clips.splits.categories)
    return np.where(has_fold, folds, clips.splits.codes)


def _describe_part(clips: ClipTable, index: int) -> str:
    fold = clips.folds[index]
    return f"fold {fold}" if fold else clips.splits[index]
