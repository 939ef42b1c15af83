"""Reads clips from folders that are not a published dataset: by subfolder, or by file name."""

import re
from collections.abc import Sequence
from pathlib import Path

from ablate.audio.dataset_layouts import recognise
from ablate.audio.folder_scan import FolderScan
from ablate.audio.layout_rows import LayoutRows
from ablate.audio.manifest_splits import compile_option, match_in_path
from ablate.audio.splits import SPLIT_WORDS, find_split, split_words

_FOLD = re.compile(r"fold[-_ ]?0*(\d+)", re.IGNORECASE)
FOLDER_TREES = {
    "subfolder": "dog/1.wav, rain/2.wav; or train/dog/1.wav, test/rain/2.wav",
    "flat": "dog_speaker7_1.wav, with --label '([a-z]+)_'",
}


def read_subfolders(scan: FolderScan) -> LayoutRows:
    """Reads `label/clip`, `split/label/clip` or `fold1/label/clip`, below any single folder.

    Raises:
        ValueError: for folders of a published dataset, folders beside those of splits or folds,
            splits or folds without labels, and a single label.
    """
    folder, result = scan.folder, LayoutRows()
    top = _find_top(scan.files)
    files = [file for file in scan.files if len(_below(file, top)) > 1]
    if loose := len(scan.files) - len(files):
        result.notes.append(f"{loose} audio files lie in no subfolder and have no label")
    names = sorted({_below(file, top)[0] for file in files})
    parts = {name: part for name in names if (part := _parse_part(name, names))}
    if not parts:
        labels = {file: _below(file, top)[0] for file in files}
        result.rows = [{"path": f.as_posix(), "label": labels[f], "split": ""} for f in files]
        _check_labels(folder, scan, result)
        return result
    if others := [name for name in names if name not in parts]:
        raise ValueError(
            f"`{folder / top}` has the folder {_list(others)} beside {_list(parts)}, which are "
            f"named like splits or folds: move {_list(others)} elsewhere, or, if all are labels, "
            f"rename {_list(parts)}"
        )
    deep = [file for file in files if len(_below(file, top)) > 2]
    if not deep:
        raise ValueError(
            f"the folders {_list(parts)} in `{folder / top}` are named like splits or folds, and "
            f"no folder below them is a label{_suggest(scan)}"
        )
    if shallow := len(files) - len(deep):
        result.notes.append(f"{shallow} audio files lie directly in {_list(parts)} without label")
    for file in deep:
        name, label = _below(file, top)[:2]
        result.rows.append({"path": file.as_posix(), "label": label, **parts[name]})
    _check_labels(folder, scan, result)
    return result


def read_flat(scan: FolderScan, label: str | None) -> LayoutRows:
    """Reads clips whose label is matched in their path by a regular expression; or no labels.

    Raises:
        ValueError: for an expression that is none, or matches nothing.
    """
    result = LayoutRows()
    if label is None:
        result.rows = [{"path": file.as_posix(), "split": "train"} for file in scan.files]
        result.notes.append(
            "no labels: the clips can only be trained on, with `label: ''`; `--label` reads labels "
            "from the names"
        )
        return result
    expression = compile_option("label", label)
    matches = {file: match_in_path(file.as_posix(), expression) for file in scan.files}
    unmatched = [file for file, match in matches.items() if not match]
    if len(unmatched) == len(matches):
        raise ValueError(f"`label` {label!r} matches no path, such as `{next(iter(matches))}`")
    if unmatched:
        result.notes.append(
            f"{len(unmatched)} audio files do not match {label!r}, such as `{unmatched[0]}`"
        )
    result.rows = [
        {"path": file.as_posix(), "label": match, "split": ""}
        for file, match in matches.items()
        if match
    ]
    _check_labels(scan.folder, scan, result)
    return result


def _check_labels(folder: Path, scan: FolderScan, result: LayoutRows) -> None:
    labels = {row["label"] for row in result.rows}
    if len(labels) == 1:
        problem = f"there is one label only, `{labels.pop()}`, so there is nothing to learn"
        if recognise(scan):
            raise ValueError(f"`{folder}`: {problem}{_suggest(scan)}")
        result.notes.append(f"{problem}{_suggest(scan)}")


def _suggest(scan: FolderScan) -> str:
    if name := recognise(scan):
        return f"; this looks like `--layout {name}`"
    return (
        "; if file names tell the label, use `--layout flat --label REGEX`, and without labels "
        "`--layout flat` alone"
    )


def _find_top(files: Sequence[Path]) -> Path:
    """Returns the folder whose subfolders tell clips apart: the deepest one that holds all."""
    folders = {file.parent for file in files}
    top = Path()
    while True:
        children = {_below(folder, top)[0] for folder in folders if folder != top}
        if top in folders or len(children) != 1:
            return top
        child = top / children.pop()
        if child in folders:  # it is the only label
            return top
        top = child


def _below(path: Path, top: Path) -> tuple[str, ...]:
    return path.relative_to(top).parts


def _parse_part(name: str, names: Sequence[str]) -> dict[str, str] | None:
    """Returns the column and value of a folder that is named like a split or a fold."""
    if fold := _FOLD.fullmatch(name):
        return {"fold": fold[1]}
    if all(word in SPLIT_WORDS for word in split_words(name)) and (split := find_split(name)):
        return {"split": split}
    if all(find_split(other) for other in names) and len(set(map(find_split, names))) > 1:
        return {"split": find_split(name)}  # such as `nsynth-train` beside `nsynth-test`
    return None


def _list(names: Sequence[str] | dict[str, dict[str, str]]) -> str:
    listed = ", ".join(f"`{name}`" for name in [*names][:10])
    return listed + (", ..." if len(names) > 10 else "")
