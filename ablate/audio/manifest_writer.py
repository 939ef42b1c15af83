"""Writes the manifest of a well-known dataset from the way its files lie.

The layouts are those that the datasets are distributed in; `subfolder` serves all others. The
manifest is written into the dataset's own folder, with the clips' paths relative to it.
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

SHARES = {"train": 0.6, "test": 0.2, "valid": 0.2}  # of clips that are dealt, first to last
BY_FILE = (
    "clips were split file by file: where a speaker or recording has several, a probe may "
    "recognise it in the test clips; `--group` keeps them together"
)

Row = dict[str, str]


class ManifestResult(NamedTuple):
    """A manifest, and what to be wary of in it; empty where there is nothing."""

    path: Path
    warning: str


def write_manifest(folder: Path, layout: str, group: str | None = None) -> ManifestResult:
    """Writes `manifest.csv` for a dataset that lies in `folder`.

    Where clips are dealt to splits, those in whose paths (relative to `folder`) the regular
    expression `group` finds the same stay together: its first group, or all of it without one.
    `layout` is one of `LAYOUTS`. Raises `ValueError` for another, for a folder that is not laid
    out like it, and where there is a manifest already.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout `{layout}`{did_you_mean(layout, LAYOUTS)}")
    if not folder.is_dir():
        raise ValueError(f"`{folder}` is not a folder; give the one that holds the data set")
    manifest = folder / NAME
    if manifest.exists():
        raise ValueError(f"`{manifest}` already exists; move it away to have a new one written")
    rows = LAYOUTS[layout](folder)
    if not rows:
        raise ValueError(f"`{folder}` holds no sound file in the layout `{layout}`")
    undealt = [row for row in rows if row.get("split") == ""]
    if group is not None and not undealt:
        raise ValueError(f"`{folder}` has splits of its own; leave `group` out")
    splits = _dealt(undealt) if group is None else _dealt_together(undealt, group)
    for row in undealt:
        row["split"] = splits[row["path"]]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return ManifestResult(manifest, BY_FILE if undealt and group is None else "")


def _subfolder(folder: Path) -> list[Row]:
    """`label/clip`, whose splits are left empty to be dealt, or `split/label/clip`."""
    files = [file for file in _sounds(folder) if file.parent != folder]
    tops = {file.relative_to(folder).parts[0] for file in files}
    named = {top for top in tops if top.lower() in _SPLIT_NAMES}
    if named and named != tops:
        odd, known = (", ".join(f"`{top}`" for top in sorted(t)) for t in (tops - named, named))
        raise ValueError(
            f"in `{folder}`, {odd} lies beside {known}, which are named like splits: move what is "
            "not a split elsewhere, or, if all are labels, rename those"
        )
    if named:
        deep = [file for file in files if len(file.relative_to(folder).parts) >= 3]
        return [
            _row(folder, file, label=parts[1], split=_SPLITS[parts[0].lower()[:2]])
            for file in deep
            for parts in [file.relative_to(folder).parts]
        ]
    return [_row(folder, file, label=file.relative_to(folder).parts[0], split="") for file in files]


def _esc50(folder: Path) -> list[Row]:
    """`meta/esc50.csv` and `audio/`, in five folds. https://github.com/karolpiczak/ESC-50"""
    return [
        {
            "path": f"audio/{line['filename']}",
            "label": line["category"],
            "fold": line["fold"],
            "esc10": line["esc10"],
        }
        for line in _table(folder / "meta" / "esc50.csv")
    ]


def _speech_commands(folder: Path) -> list[Row]:
    """`word/clip.wav` and two lists of clips. https://arxiv.org/abs/1804.03209"""
    valid = set(_lines(folder / "validation_list.txt"))
    test = set(_lines(folder / "testing_list.txt"))
    rows = []
    for file in _sounds(folder):
        path = file.relative_to(folder).as_posix()
        if len(file.relative_to(folder).parts) == 2 and not path.startswith("_"):
            split = "valid" if path in valid else "test" if path in test else "train"
            rows.append(_row(folder, file, label=file.parent.name, split=split))
    return rows


def _fsd50k(folder: Path) -> list[Row]:
    """`FSD50K.ground_truth/{dev,eval}.csv`. https://zenodo.org/records/4060432

    A clip has several labels there, the most specific one first, which has a column of its own
    too: `label: first_label` makes it a task of one label a clip.
    """
    truth = folder / "FSD50K.ground_truth"
    rows = []
    for part in ("dev", "eval"):
        for line in _table(truth / f"{part}.csv"):
            split = {"train": "train", "val": "valid"}[line["split"]] if part == "dev" else "test"
            path = f"FSD50K.{part}_audio/{line['fname']}.wav"
            rows.append({"path": path, **_several(line["labels"].split(",")), "split": split})
    return rows


def _audioset(folder: Path) -> list[Row]:
    """The segment lists, `class_labels_indices.csv`, and clips named after their video.

    https://research.google.com/audioset/download.html
    A clip is `ID`, `YID`, or either with `_` and its start, anywhere below the folder. Many
    videos are gone: segments without a clip are left out. `first_label` is the one that the list
    names first; unlike in FSD50K it need not be the most specific.
    """
    names = {
        line["mid"]: line["display_name"] for line in _table(folder / "class_labels_indices.csv")
    }
    clips = {file.stem: file for file in _sounds(folder)}
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
        raise ValueError(f"`{folder}` holds no segment list such as `{lists['train'][0]}`")
    rows = []
    for split, segments in present:
        for video, start, labels in _segments(segments):
            file = next((clips[stem] for stem in _stems(video, start) if stem in clips), None)
            if file is not None:
                told = _several([names.get(label, label) for label in labels.split(",")])
                rows.append(_row(folder, file, **told, split=split))
    return rows


LAYOUTS: dict[str, Callable[[Path], list[Row]]] = {
    "subfolder": _subfolder,
    "esc50": _esc50,
    "speech_commands": _speech_commands,
    "fsd50k": _fsd50k,
    "audioset": _audioset,
}


def _row(folder: Path, file: Path, *, split: str, **labels: str) -> Row:
    return {"path": file.relative_to(folder).as_posix(), **labels, "split": split}


def _several(labels: Sequence[str]) -> Row:
    return {"label": ";".join(labels), "first_label": labels[0]}


def _sounds(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if not file.name.startswith("."))  # `._x.wav` of a Mac


def _dealt(rows: Iterable[Row]) -> dict[str, str]:
    """Deals each label's clips to the splits, 6 : 2 : 2, in an order given by their paths' hash.

    Of two clips one is trained and one tested on; of three, each split gets one. Returns the split
    of each path.
    """
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row["path"])
    splits: dict[str, str] = {}
    for paths in by_label.values():
        paths.sort(key=_hash)
        held_out = max(1, round(0.2 * len(paths)))
        deal = ["test"] * held_out * (len(paths) > 1) + ["valid"] * held_out * (len(paths) > 2)
        splits |= zip(paths, deal + ["train"] * (len(paths) - len(deal)), strict=True)
    return splits


def _dealt_together(rows: Sequence[Row], pattern: str) -> dict[str, str]:
    """Deals groups of clips, the largest first, each to the split that lacks its labels most.

    Lacking is by the share of 6 : 2 : 2 that a split has of each label already. Returns the split
    of each path.
    """
    total = Counter(row["label"] for row in rows)
    filled: Counter[tuple[str, str]] = Counter()
    splits: dict[str, str] = {}

    def full(split: str, group: list[Row]) -> float:
        labels = (row["label"] for row in group)
        return sum(filled[split, label] / total[label] for label in labels) / SHARES[split]

    groups = _groups(rows, pattern)
    for name in sorted(groups, key=lambda name: (-len(groups[name]), _hash(name))):
        group = groups[name]
        chosen = min(SHARES, key=lambda split: full(split, group))
        filled.update((chosen, row["label"]) for row in group)
        splits |= {row["path"]: chosen for row in group}
    return splits


def _groups(rows: Iterable[Row], pattern: str) -> dict[str, list[Row]]:
    """Gathers clips by what a regular expression finds in their paths.

    Raises `ValueError` where it finds nothing in one, or the same in all.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`group` {pattern!r} is not a regular expression: {error}") from error
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found = expression.search(row["path"])
        name = found and found[1 if expression.groups else 0]
        if not name:
            raise ValueError(f"`group` {pattern!r} matches nothing in `{row['path']}`; widen it")
        groups[name].append(row)
    if len(groups) == 1:
        raise ValueError(
            f"`group` {pattern!r} matches `{name}` in every path, so nothing would be left to test "
            "on; narrow it"
        )
    return groups


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _table(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(_lines(file)))


def _segments(file: Path) -> Iterable[tuple[str, str, str]]:
    for line in csv.reader(_lines(file), skipinitialspace=True):
        if line and not line[0].startswith("#"):
            yield line[0], line[1], line[3]


def _stems(video: str, start: str) -> list[str]:
    seconds = float(start)
    starts = (start, f"{seconds:g}", str(round(seconds * 1000)))
    names = (video, f"Y{video}")
    return [*names, *(f"{name}_{start}" for name in names for start in starts)]


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise ValueError(f"there is no `{file}`; is the data set in another layout?")
    return file.read_text(encoding="utf-8-sig").splitlines()
