"""What labels must be like for probes to be trained and tested on them."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import classes_in, kind_of
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.manifest_reader import several

Indices = npt.NDArray[np.int64]


def check_labels(clips: ClipTable | Iterable[ClipInfo]) -> None:
    """Refuses labels that cannot be probed, and clips that stand in two splits.

    A task needs two labels or more, and clips to be tested on; each label two clips or more, one
    of them to train on; of folds, clips in two. Raises `ValueError` naming the first five faults.
    """
    table = ClipTable.from_clips(clips)
    if not len(table):
        raise ValueError("there is no clip to use; list some in the manifest, one per line")
    if table.labels.words == ("",):
        raise ValueError(
            "no clip has a label for probes to learn; name the column or key that holds "
            "labels with `label`, or other clips to probe on with the study's `tasks`"
        )
    tasks = range(len(table.tasks.words))
    members = [np.flatnonzero(table.tasks.codes == task) for task in tasks]
    problems = [problem for mine in members for problem in _untold(table, mine)]
    problems += _strays(table, np.concatenate(members))
    if problems:
        raise ValueError(several(problems))


def _untold(clips: ClipTable, mine: Indices) -> list[str]:
    """Says why one task's clips cannot be probed."""
    task = clips.tasks[int(mine[0])]
    unfolded, tested = clips.folds.equals("")[mine], clips.splits.equals("test")[mine]
    if unfolded.any() and not unfolded.all():
        return [f"task `{task}` has a `split` for some clips and a `fold` for others; use one"]
    problems = []
    if unfolded.all() and not tested.any():
        problems.append(f"task `{task}` has no clip with split `test` to score on; give it some")
    labels = clips.labels.codes[mine]
    if (labels == labels[0]).all():
        problems.append(
            f"task `{task}` has one label only (`{clips.labels[int(mine[0])]}`), so "
            "there is nothing to learn; add clips of another label or leave the task out"
        )
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    cells = {clips.labels[int(group[0])]: group for group in np.split(mine[order], starts[1:])}
    try:
        groups = _by_class(cells)
    except ValueError as error:
        return [*problems, f"task `{task}`: {error}"]
    for label, group in sorted(groups.items()):
        if fault := _fault(clips, group):
            name = f"label `{label}` of task `{task}`"
            problems.append(f"{name} {fault}; add clips or leave the label out")
    return problems


def _by_class(cells: Mapping[str, Indices]) -> dict[str, Indices]:
    """Gathers the clips of each class from those of each cell, which may name several."""
    kind = kind_of(cells)
    groups: dict[str, list[Indices]] = {}
    for cell, group in cells.items():
        for name in classes_in(cell, kind):
            groups.setdefault(name, []).append(group)
    return {name: np.sort(np.concatenate(pieces)) for name, pieces in groups.items()}


def _fault(clips: ClipTable, group: Indices) -> str:
    """Says why one label of a task cannot be learnt, or nothing."""
    first = clips[int(group[0])]
    if len(group) == 1:
        return f"has only one clip (`{first.path}`)"
    if first.fold:
        folds = clips.folds.codes[group]
        return f"has clips in fold `{first.fold}` only" if (folds == folds[0]).all() else ""
    taught = clips.splits.codes[group] == clips.splits.code("train")
    return "" if taught.any() else "has no clip with split `train`"


def _strays(clips: ClipTable, order: Indices) -> Iterator[str]:
    """Names the clips whose split differs by task: a tested one would have been trained on."""
    part = np.where(clips.folds.equals(""), clips.splits.codes, -1)
    _, first, which = np.unique(clips.sounds[order], return_index=True, return_inverse=True)
    seen = order[first[which]]
    differs = part[order] != part[seen]
    for index, other in zip(order[differs], seen[differs], strict=True):
        clip, earlier = clips[int(index)], clips[int(other)]
        yield (
            f"`{clip.path}` has {_part(earlier)} in task `{earlier.task}` but {_part(clip)} in "
            f"task `{clip.task}`; give it the same split in both, or drop it from one"
        )


def _part(clip: ClipInfo) -> str:
    return "a fold" if clip.fold else f"split `{clip.split}`"
