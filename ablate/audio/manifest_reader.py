"""Reads a manifest (CSV) into a table of clips and reports all its problems at once."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipInfo, ClipTable, ClipTableBuilder
from ablate.audio.csv_table import CsvRow, CsvTable
from ablate.audio.segments import FRAGMENT, format_fragment, parse_times
from ablate.audio.splits import SPLITS, format_unknown_split, parse_split
from ablate.core.suggest import did_you_mean

_UNUSUAL = re.compile(r"^/|[:\\]|//|\./|/\.?$")  # in paths that are not in their shortest form


def format_problems(problems: Sequence[str]) -> str:
    """Formats the first five problems, one per line, and the number of the others."""
    rest = [f"... and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "\n".join([*problems[:5], *rest])


def is_valid_task_name(task: str) -> bool:
    """Returns whether a task's name is usable as the name of a results folder."""
    return bool(task) and not task.startswith(".") and not {"/", "\\"} & set(task)


def format_task_name_error(task: str) -> str:
    """Formats the error for a name that `is_valid_task_name` rejects."""
    return (
        f"task `{task}` is not usable as a folder name; use a name without `/` and `\\` that does "
        "not begin with `.`, in the setting `task` or in the manifest's column `task`"
    )


def check_manifest_exists(manifest: Path) -> None:
    """Raises `ValueError` if the file is missing."""
    if not manifest.is_file():
        raise ValueError(f"no manifest at `{manifest}`; `ablate manifest` can write one")


def read_manifest(manifest: Path, *, label: str, task: str) -> ClipTable:
    """Reads the clips of a CSV file, in its order.

    Args:
        manifest: the CSV file.
        label: the column of labels. If empty, clips need no label, and those without split or fold
            are training clips.
        task: the task of rows that name none.

    Raises:
        ValueError: with file and line of the first five problems, and the number of the others.
    """
    problems: list[str] = []
    builder = ClipTableBuilder()
    try:
        table = CsvTable(manifest, required="path")
        _check_columns(manifest, table.columns, label)
        for row in table.rows():
            try:
                clip = _parse_row(row.cells, label=label, task=task, root=manifest.parent)
            except ValueError as error:
                problems.append(f"{manifest}:{row.line}: {error}")
                continue
            for problem in _find_row_problems(row, clip, labelled=bool(label)):
                problems.append(f"{manifest}:{row.line}: {problem}")
            builder.append(clip)
    except (UnicodeError, csv.Error) as error:
        raise ValueError(
            f"`{manifest}` is not a CSV file in UTF-8 or UTF-16: {error}; save it as UTF-8"
        ) from error
    clips = builder.build()
    if not len(clips) and not problems:
        raise ValueError(f"`{manifest}` lists no clips; add one line per clip below the header")
    repeated = [clips.paths[int(index)] for index in _find_repeated(clips)]
    problems += [
        f"`{manifest}` lists `{path}` more than once for one task; keep one line"
        for path in repeated
    ]
    names = [name for name in clips.tasks.categories if not is_valid_task_name(name)]
    problems += [f"`{manifest}`: {format_task_name_error(name)}" for name in names]
    if problems:
        raise ValueError(format_problems(problems))
    return clips


def _find_repeated(clips: ClipTable) -> npt.NDArray[np.int64]:
    """Returns the indices of clips that are listed more than once for one task."""
    listed = clips.first_with_path * len(clips.tasks.categories) + clips.tasks.codes
    _, first, times = np.unique(listed, return_index=True, return_counts=True)
    return np.sort(first[times > 1])


def _check_columns(manifest: Path, columns: list[str], label: str) -> None:
    problems = [
        f"`{manifest}` has no column `{name}`{did_you_mean(name, columns)}"
        for name in ("path", label)
        if name and name not in columns
    ]
    if label in {"path", "split", "fold"} & set(columns):
        problems.append(
            f"`{manifest}`: the column `{label}` is reserved and cannot hold labels; copy it to a "
            "column of another name and set `label` to that"
        )
    if label and not {"split", "fold"} & set(columns):
        problems.append(f"`{manifest}` has neither a column `split` nor `fold`; add one")
    if problems:
        raise ValueError("\n".join(problems))


def _parse_row(row: dict[str, str], *, label: str, task: str, root: Path) -> ClipInfo:
    """Returns the clip of a row. Raises `ValueError` for paths and times that cannot be used."""
    cells = dict(row)
    path = _replace_backslashes(cells.pop("path"), root)
    if _UNUSUAL.search(path):
        if Path(path).is_absolute():  # a clip's identity must not depend on the folder it is in
            path = os.path.relpath(path, root)
        path = Path(path).as_posix()  # `./a.wav` and `a.wav` are the same clip
    split, fold = cells.pop("split", ""), cells.pop("fold", "")
    if not (label or split or fold):
        split = "train"  # unlabelled clips can only be trained on
    return ClipInfo(
        path=path + format_fragment(parse_times(cells)),
        label=cells.pop(label) if label else "",
        task=cells.pop("task", "") or task,
        split=parse_split(split) or split,
        fold=fold,
        extra=cells,
    )


def _replace_backslashes(path: str, root: Path) -> str:
    """Returns a path with `/`, unless a file has backslashes in its name.

    Raises `ValueError` for a path with a drive.
    """
    if "\\" not in path or (root / path).is_file():
        return path
    if re.match(r"[A-Za-z]:|\\\\", path):
        raise ValueError(
            f"`{path}` is a path on a Windows drive; write it relative to the manifest"
        )
    return path.replace("\\", "/")


def _find_row_problems(row: CsvRow, clip: ClipInfo, *, labelled: bool) -> list[str]:
    problems = []
    if row.surplus:
        problems.append("has more cells than the header; quote cells that hold a comma")
    if not clip.path or clip.path.startswith(FRAGMENT):
        problems.append("the cell `path` is empty")
    if labelled and not clip.label:
        problems.append("the label is empty; fill it in or leave the line out")
    if clip.split and clip.fold:
        problems.append(f"has split `{clip.split}` and fold `{clip.fold}`; keep one of them")
    elif not clip.split and not clip.fold:
        problems.append("has neither a split nor a fold; add one")
    elif clip.split and clip.split not in SPLITS:
        problems.append(format_unknown_split(clip.split))
    return problems
