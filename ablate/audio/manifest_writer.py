"""Writes the manifest (CSV) of a dataset from its folder layout.

Each well-known dataset is read in the layout that it is distributed in; `subfolder` is for all
others. The manifest is written into the dataset's folder, with clip paths relative to it.
"""

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ablate.core.suggest import did_you_mean

NAME = "manifest.csv"
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"}
_SPLIT_NAMES = {"train", "training", "valid", "validation", "val", "dev", "test", "testing", "eval"}
_SPLITS = {"tr": "train", "va": "valid", "de": "valid", "te": "test", "ev": "test"}

SHARES = {"train": 0.6, "test": 0.2, "valid": 0.2}  # share of clips; ties go to the first
SPLIT_BY_FILE_WARNING = (
    "clips were split file by file: if several come from one speaker or recording, a probe may "
    "recognise it in the test clips; `--group` keeps them together"
)

Row = dict[str, str]


class ManifestResult(NamedTuple):
    """The manifest that was written."""

    path: Path
    warning: str  # about the splits; empty if there is none


def write_manifest(folder: Path, layout: str, group: str | None = None) -> ManifestResult:
    """Writes `manifest.csv` for the dataset in `folder`.

    A dataset without splits of its own is split 6 : 2 : 2 into train, valid and test, label by
    label; the result depends only on the clips' paths.

    Args:
        folder: the folder of the dataset.
        layout: one of `LAYOUTS`: `subfolder`, `esc50`, `speech_commands`, `fsd50k`, `audioset`.
        group: a regular expression that is searched in each path, relative to `folder`. Clips with
            the same match (its first group, or all of it if it has none) get the same split.

    Returns:
        The path of the manifest, and a warning about its splits, if any.

    Raises:
        ValueError: for an unknown layout, a folder in another layout, a `group` that does not
            match or does not separate the clips, and if the manifest exists.

    Example:
        >>> write_manifest(Path("ESC-50-master"), "esc50")  # doctest: +SKIP
        ManifestResult(path=PosixPath('ESC-50-master/manifest.csv'), warning='')
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout `{layout}`{did_you_mean(layout, LAYOUTS)}")
    if not folder.is_dir():
        raise ValueError(f"`{folder}` is not a folder; pass the folder of the dataset")
    manifest = folder / NAME
    if manifest.exists():
        raise ValueError(f"`{manifest}` already exists; delete or rename it first")
    rows = LAYOUTS[layout](folder)
    if not rows:
        raise ValueError(f"`{folder}` has no audio file in the layout `{layout}`")
    unsplit = [row for row in rows if row.get("split") == ""]
    if group is not None and not unsplit:
        raise ValueError(f"`{folder}` has splits of its own; leave `group` out")
    splits = _split_by_file(unsplit) if group is None else _split_by_group(unsplit, group)
    for row in unsplit:
        row["split"] = splits[row["path"]]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return ManifestResult(manifest, SPLIT_BY_FILE_WARNING if unsplit and group is None else "")


def _subfolder(folder: Path) -> list[Row]:
    """`label/clip` (splits are left empty and assigned later), or `split/label/clip`."""
    files = [file for file in _find_audio_files(folder) if file.parent != folder]
    tops = {file.relative_to(folder).parts[0] for file in files}
    splits = {top for top in tops if top.lower() in _SPLIT_NAMES}
    if splits and splits != tops:
        others, names = (
            ", ".join(f"`{top}`" for top in sorted(group)) for group in (tops - splits, splits)
        )
        raise ValueError(
            f"`{folder}` has the folder {others} beside {names}, which are named like splits: move "
            f"{others} elsewhere, or, if all are labels, rename {names}"
        )
    if splits:
        deep = [file for file in files if len(file.relative_to(folder).parts) >= 3]
        return [
            _create_row(folder, file, label=parts[1], split=_SPLITS[parts[0].lower()[:2]])
            for file in deep
            for parts in [file.relative_to(folder).parts]
        ]
    return [
        _create_row(folder, file, label=file.relative_to(folder).parts[0], split="")
        for file in files
    ]


def _esc50(folder: Path) -> list[Row]:
    """`meta/esc50.csv` and `audio/`, in five folds. https://github.com/karolpiczak/ESC-50"""
    return [
        {
            "path": f"audio/{line['filename']}",
            "label": line["category"],
            "fold": line["fold"],
            "esc10": line["esc10"],
        }
        for line in _read_table(folder / "meta" / "esc50.csv")
    ]


def _speech_commands(folder: Path) -> list[Row]:
    """`word/clip.wav` and two lists of clips. https://arxiv.org/abs/1804.03209"""
    valid = set(_read_lines(folder / "validation_list.txt"))
    test = set(_read_lines(folder / "testing_list.txt"))
    rows = []
    for file in _find_audio_files(folder):
        path = file.relative_to(folder).as_posix()
        if len(file.relative_to(folder).parts) == 2 and not path.startswith("_"):
            split = "valid" if path in valid else "test" if path in test else "train"
            rows.append(_create_row(folder, file, label=file.parent.name, split=split))
    return rows


def _fsd50k(folder: Path) -> list[Row]:
    """`FSD50K.ground_truth/{dev,eval}.csv`. https://zenodo.org/records/4060432

    Clips have several labels, the most specific one first. That one is also written to a column of
    its own: `label: first_label` makes a single-label task.
    """
    truth = folder / "FSD50K.ground_truth"
    rows = []
    for part in ("dev", "eval"):
        for line in _read_table(truth / f"{part}.csv"):
            split = {"train": "train", "val": "valid"}[line["split"]] if part == "dev" else "test"
            path = f"FSD50K.{part}_audio/{line['fname']}.wav"
            rows.append({"path": path, **_create_labels(line["labels"].split(",")), "split": split})
    return rows


def _audioset(folder: Path) -> list[Row]:
    """The segment lists, `class_labels_indices.csv`, and clips named after their video.

    https://research.google.com/audioset/download.html
    A clip's file is named `ID`, `YID`, or either with `_` and its start, anywhere below the folder.
    Many videos no longer exist: segments without a file are left out. `first_label` is the first
    label in the list; unlike in FSD50K it need not be the most specific.
    """
    names = {
        line["mid"]: line["display_name"]
        for line in _read_table(folder / "class_labels_indices.csv")
    }
    clips = {file.stem: file for file in _find_audio_files(folder)}
    lists = {
        "train": ("balanced_train_segments.csv", "unbalanced_train_segments.csv"),
        "test": ("eval_segments.csv",),
    }
    present = [
        (split, folder / name)
        for split, files in lists.items()
        for name in files
        if (folder / name).exists()
    ]
    if not present:
        raise ValueError(f"`{folder}` has no segment list such as `{lists['train'][0]}`")
    rows = []
    for split, segments in present:
        for video, start, labels in _read_segments(segments):
            file = next((clips[stem] for stem in _get_stems(video, start) if stem in clips), None)
            if file is not None:
                names_of_clip = [names.get(label, label) for label in labels.split(",")]
                row = _create_row(folder, file, **_create_labels(names_of_clip), split=split)
                rows.append(row)
    return rows


LAYOUTS: dict[str, Callable[[Path], list[Row]]] = {
    "subfolder": _subfolder,
    "esc50": _esc50,
    "speech_commands": _speech_commands,
    "fsd50k": _fsd50k,
    "audioset": _audioset,
}


def _create_row(folder: Path, file: Path, *, split: str, **labels: str) -> Row:
    return {"path": file.relative_to(folder).as_posix(), **labels, "split": split}


def _create_labels(labels: Sequence[str]) -> Row:
    return {"label": ";".join(labels), "first_label": labels[0]}


def _find_audio_files(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(
        file for file in files if not file.name.startswith(".")
    )  # skips macOS's `._x.wav`


def _split_by_file(rows: Iterable[Row]) -> dict[str, str]:
    """Splits each label's clips 6 : 2 : 2, in the order of their paths' hashes.

    Two clips are split into one for training and one for testing; three into one per split.
    Returns the split of each path.
    """
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row["path"])
    splits: dict[str, str] = {}
    for paths in by_label.values():
        paths.sort(key=_hash)
        size = max(1, round(0.2 * len(paths)))
        held_out = ["test"] * size * (len(paths) > 1) + ["valid"] * size * (len(paths) > 2)
        splits |= zip(paths, held_out + ["train"] * (len(paths) - len(held_out)), strict=True)
    return splits


def _split_by_group(rows: Sequence[Row], pattern: str) -> dict[str, str]:
    """Assigns groups of clips to splits, the largest group first.

    Each goes to the split that so far has the smallest part of its share (6 : 2 : 2) of the
    group's labels. Returns the split of each path.
    """
    total = Counter(row["label"] for row in rows)
    filled: Counter[tuple[str, str]] = Counter()
    splits: dict[str, str] = {}

    def fill_level(split: str, group: list[Row]) -> float:
        labels = (row["label"] for row in group)
        return sum(filled[split, label] / total[label] for label in labels) / SHARES[split]

    groups = _group_rows(rows, pattern)
    for name in sorted(groups, key=lambda name: (-len(groups[name]), _hash(name))):
        group = groups[name]
        chosen = min(SHARES, key=lambda split: fill_level(split, group))
        filled.update((chosen, row["label"]) for row in group)
        splits |= {row["path"]: chosen for row in group}
    return splits


def _group_rows(rows: Iterable[Row], pattern: str) -> dict[str, list[Row]]:
    """Groups clips by the match of a regular expression in their paths.

    Raises `ValueError` if it does not match some path, or has the same match in all.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`group` {pattern!r} is not a regular expression: {error}") from error
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        match = expression.search(row["path"])
        name = match and match[1 if expression.groups else 0]
        if not name:
            raise ValueError(f"`group` {pattern!r} matches nothing in `{row['path']}`; widen it")
        groups[name].append(row)
    if len(groups) == 1:
        raise ValueError(
            f"`group` {pattern!r} matches `{name}` in every path, so no clip would be left to test "
            "on; use a narrower one"
        )
    return groups


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _read_table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(_read_lines(file)))


def _read_segments(file: Path) -> Iterable[tuple[str, str, str]]:
    for line in csv.reader(_read_lines(file), skipinitialspace=True):
        if line and not line[0].startswith("#"):
            yield line[0], line[1], line[3]


def _get_stems(video: str, start: str) -> list[str]:
    seconds = float(start)
    starts = (start, f"{seconds:g}", str(round(seconds * 1000)))
    names = (video, f"Y{video}")
    return [*names, *(f"{name}_{start}" for name in names for start in starts)]


def _read_lines(file: Path) -> list[str]:
    if not file.is_file():
        raise ValueError(f"`{file}` is missing; is the dataset in another layout?")
    return file.read_text(encoding="utf-8-sig").splitlines()
