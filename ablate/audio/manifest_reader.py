"""Reads a manifest into a table of clips, and says at once what is wrong with it."""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipInfo, ClipTable, ClipTableBuilder
from ablate.core.suggest import did_you_mean

SPLITS = ("train", "valid", "test")
_SPELLINGS = {
    **{split: split for split in SPLITS},
    **{"val": "valid", "validation": "valid", "dev": "valid"},
}
SPLIT_WORDS = {  # in the names that others gave to files
    **_SPELLINGS,
    **dict.fromkeys(("training", "tr", "bal", "unbal", "balanced", "unbalanced"), "train"),
    **dict.fromkeys(("testing", "eval", "evaluation"), "test"),
}
_UNUSUAL = re.compile(r"^/|[:\\]|//|\./|/\.?$")  # in paths that may be written another way


def format_problems(problems: Sequence[str]) -> str:
    """Joins the first five problems, and counts the rest."""
    rest = [f"... and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "\n".join([*problems[:5], *rest])


def is_valid_task_name(task: str) -> bool:
    """Tells whether a task's name can be that of a folder of results."""
    return bool(task) and not task.startswith(".") and not {"/", "\\"} & set(task)


def format_task_name_error(task: str) -> str:
    """Words the refusal of a task's name that `is_valid_task_name` does not let pass."""
    return (
        f"task `{task}` cannot name a folder of results; give a name without `/` and `\\` that "
        "does not begin with `.`, in the setting `task` or in the manifest's column `task`"
    )


def check_manifest_exists(manifest: Path) -> None:
    """Raises `ValueError`, with the way out, where there is no such file."""
    if not manifest.is_file():
        raise ValueError(f"no manifest at `{manifest}`; `ablate manifest` can write one")


def read_manifest(manifest: Path, *, label: str, task: str) -> ClipTable:
    """Reads the clips of a CSV file, in its order; `task` is that of lines that name none.

    `label` is the column of labels; where it is empty clips need none, and without split or fold
    they are trained on. Raises `ValueError` with the first five problems by file and line, and
    the number of the rest.
    """
    problems: list[str] = []
    written = ClipTableBuilder()
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restkey="", restval="")
            _check_columns(manifest, list(reader.fieldnames or []), label)
            for row in reader:
                clip = _clip(row, label=label, task=task, root=manifest.parent)
                for problem in _row_problems(row, clip, labelled=bool(label)):
                    problems.append(f"{manifest}:{reader.line_num}: {problem}")
                written.append(clip)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"`{manifest}` is not a CSV file in UTF-8: {error}") from error
    clips = written.build()
    if not len(clips):
        raise ValueError(f"`{manifest}` lists no clips; add one line for each below the header")
    twice = [clips.paths[int(index)] for index in _repeated(clips)]
    problems += [f"`{manifest}` lists `{path}` twice; a clip has one label" for path in twice]
    names = [name for name in clips.tasks.categories if not is_valid_task_name(name)]
    problems += [f"`{manifest}`: {format_task_name_error(name)}" for name in names]
    if problems:
        raise ValueError(format_problems(problems))
    return clips


def _repeated(clips: ClipTable) -> npt.NDArray[np.int64]:
    """Finds the clips that are listed more than once for one task."""
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
            f"`{manifest}`: the column `{label}` has a meaning of its own and cannot be the label; "
            "copy it to a column of another name and set `label` to that"
        )
    if label and not {"split", "fold"} & set(columns):
        problems.append(f"`{manifest}` has neither a column `split` nor `fold`; add one")
    if problems:
        raise ValueError("\n".join(problems))


def _clip(row: dict[str, str], *, label: str, task: str, root: Path) -> ClipInfo:
    cells = {name: cell.strip() for name, cell in row.items() if name}
    path = cells.pop("path")
    if _UNUSUAL.search(path):
        if Path(path).is_absolute():  # where the files lie is no part of what they are
            path = os.path.relpath(path, root)
        path = Path(path).as_posix()  # `./a.wav` is `a.wav`: each clip goes by one name
    split, fold = cells.pop("split", ""), cells.pop("fold", "")
    if not (label or split or fold):
        split = "train"  # what has no labels is there to be trained on
    return ClipInfo(
        path=path,
        label=cells.pop(label) if label else "",
        task=cells.pop("task", "") or task,
        split=_SPELLINGS.get(split.lower(), split),
        fold=fold,
        extra=cells,
    )


def _row_problems(row: dict[str, str], clip: ClipInfo, *, labelled: bool) -> list[str]:
    problems = []
    if row.get(""):
        problems.append("has more cells than the header; quote cells that hold a comma")
    if not clip.path:
        problems.append("the cell `path` is empty")
    if labelled and not clip.label:
        problems.append("the label is empty; give one or leave the line out")
    if clip.split and clip.fold:
        problems.append(f"has split `{clip.split}` and fold `{clip.fold}`; keep one of them")
    elif not clip.split and not clip.fold:
        problems.append("has neither a split nor a fold; give one")
    elif clip.split and clip.split not in SPLITS:
        problems.append(f"unknown split `{clip.split}`{did_you_mean(clip.split, _SPELLINGS)}")
    return problems
