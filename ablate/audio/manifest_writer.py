"""Writes the manifest (CSV) of a dataset from its folder layout.

Each well-known dataset is read in the layout that it is distributed in; `subfolder` and `flat` are
for all others. The manifest is written into the dataset's folder, with clip paths relative to it.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ablate.audio.dataset_layouts import DATASETS, recognise
from ablate.audio.folder_layouts import FOLDER_TREES, read_flat, read_subfolders
from ablate.audio.folder_scan import FolderScan, scan_folder
from ablate.audio.layout_rows import LayoutRows
from ablate.audio.manifest_splits import Row, SplitOptions, assign_splits
from ablate.core.suggest import did_you_mean

NAME = "manifest.csv"
LAYOUTS = {**FOLDER_TREES, **{name: dataset.tree for name, dataset in DATASETS.items()}}
_FIRST_COLUMNS = ("path", "label", "first_label", "split", "fold", "group")


class ManifestResult(NamedTuple):
    """The manifest that was written."""

    path: Path
    warning: str  # about the splits; empty if there is none
    notes: tuple[str, ...]  # what was passed over, one line per cause


def write_manifest(
    folder: Path,
    layout: str,
    options: SplitOptions | None = None,
    *,
    label: str | None = None,
    name: str = NAME,
) -> ManifestResult:
    """Writes a manifest for the dataset in `folder`.

    A dataset without splits of its own is split 6 : 2 : 2 into train, valid and test, label by
    label; the result depends only on the clips' paths.

    Args:
        folder: the folder of the dataset.
        layout: one of `LAYOUTS`, such as `subfolder` or `esc50`.
        options: how clips are split that have no splits of their own.
        label: for the layout `flat`, a regular expression that is searched in each path, relative
            to `folder`; its first group, or all of the match, is the label. Without it the clips
            have no labels.
        name: the name of the manifest, which is written into `folder`.

    Returns:
        The path of the manifest, a warning about its splits, if any, and what was passed over.

    Raises:
        ValueError: for an unknown layout, a folder in another layout, options that do not apply or
            do not separate the clips, and if the manifest exists.

    Example:
        >>> write_manifest(Path("ESC-50-master"), "esc50").path  # doctest: +SKIP
        PosixPath('ESC-50-master/manifest.csv')
    """
    if layout not in LAYOUTS:
        names = ", ".join(LAYOUTS)
        raise ValueError(
            f"unknown layout `{layout}`{did_you_mean(layout, LAYOUTS)}; there are {names}"
        )
    if label is not None and layout != "flat":
        raise ValueError(f"`label` is for the layout `flat`; `{layout}` has labels of its own")
    if not folder.is_dir():
        raise ValueError(f"`{folder}` is not a folder; pass the folder of the dataset")
    if Path(name).name != name or not name.endswith(".csv"):
        raise ValueError(f"`name` must be that of a CSV file in the folder, such as {NAME}: {name}")
    manifest = folder / name
    if manifest.exists():
        raise ValueError(
            f"`{manifest}` already exists; delete or rename it first, or "
            "write another: --name b.csv"
        )
    scan = scan_folder(folder)
    result = _read_rows(scan, layout, label)
    if not result.rows:
        raise ValueError(_describe_nothing(scan, layout, result.notes))
    warning = _split(folder, result.rows, options)
    _write_rows(manifest, result.rows)
    return ManifestResult(manifest, warning, (*result.notes, *scan.describe()))


def _read_rows(scan: FolderScan, layout: str, label: str | None) -> LayoutRows:
    if layout == "subfolder":
        return read_subfolders(scan)
    if layout == "flat":
        return read_flat(scan, label) if scan.files else LayoutRows()
    try:
        result = DATASETS[layout].read(scan)
    except (KeyError, ValueError, IndexError) as error:
        reason = f"has no column or key {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"`{scan.folder}` is not in the layout `{layout}`: {reason}; is the dataset in another "
            f"layout? This one looks like {LAYOUTS[layout]}"
        ) from error
    paths = {row["path"] for row in result.rows}
    if unlisted := [name for file in scan.files if (name := file.as_posix()) not in paths]:
        result.notes.append(
            f"{len(unlisted)} audio files are not among the dataset's clips by their names, such "
            f"as `{unlisted[0]}`"
        )
    return result


def _describe_nothing(scan: FolderScan, layout: str, notes: Sequence[str]) -> str:
    lines = [
        f"`{scan.folder}` has no audio file in the layout `{layout}`, which looks like "
        f"{LAYOUTS[layout]}",
        *notes,
        *scan.describe(),
    ]
    if (name := recognise(scan)) and name != layout:
        lines.append(f"the folder looks like `--layout {name}`")
    return "\n".join(lines)


def _split(folder: Path, rows: Sequence[Row], options: SplitOptions | None) -> str:
    """Assigns the clips without split; returns a warning, if any."""
    unsplit = [row for row in rows if row.get("split") == ""]
    if not unsplit and options not in (None, SplitOptions()):
        raise ValueError(
            f"`{folder}` has splits of its own; leave `group`, `split_by`, `shares`, `test`, "
            "`valid`, `folds` and `seed` out"
        )
    if not unsplit:
        return ""
    if len(unsplit) < len(rows) and options is not None and options.folds is not None:
        raise ValueError(f"`{folder}` has splits for some clips; leave `folds` out")
    return assign_splits(unsplit, options or SplitOptions())


def _write_rows(manifest: Path, rows: Sequence[Row]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in _FIRST_COLUMNS if name in names]
    columns += [name for name in names if name not in columns]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
