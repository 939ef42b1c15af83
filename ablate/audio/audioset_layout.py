"""Reads the clips of AudioSet: segment lists, and files named after their video and its start."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ablate.audio.folder_scan import FolderScan
from ablate.audio.layout_rows import LayoutRows, create_labels, read_lines, read_table

_LISTS = {
    "balanced_train_segments.csv": "train",
    "unbalanced_train_segments.csv": "train",
    "eval_segments.csv": "test",
}
_SEGMENT = re.compile(r"(?:[_-](\d+(?:\.\d+)?))?(?:[_-](\d+(?:\.\d+)?))?")


def read_audioset(scan: FolderScan) -> LayoutRows:
    """The segment lists, `class_labels_indices.csv`, and clips named after their video.

    https://research.google.com/audioset/download.html
    A clip's file is named `ID` or `YID`, which its start or its start and end may follow, in
    seconds or milliseconds, anywhere below the folder. Many videos no longer exist: segments
    without a file are left out. `first_label` is the first label in the list; unlike in FSD50K it
    need not be the most specific.
    """
    names = {
        line["mid"]: line["display_name"]
        for line in read_table(scan.folder / "class_labels_indices.csv")
    }
    present = [name for name in _LISTS if (scan.folder / name).is_file()]
    if not present:
        raise ValueError(f"`{scan.folder}` has no segment list such as `{next(iter(_LISTS))}`")
    by_video = _index_videos(scan.files)
    result, missing = LayoutRows(), 0
    for name in present:
        for video, start, labels in _read_segments(scan.folder / name):
            file = _find_segment(by_video.get(video, ()), float(start))
            if file is None:
                missing += 1
                continue
            classes = create_labels([names.get(label, label) for label in labels.split(",")])
            row = {"path": file.as_posix(), **classes, "split": _LISTS[name]}
            result.rows.append(row)
    if missing:
        result.notes.append(f"{missing} segments of the lists have no file")
    return result


def _index_videos(files: Iterable[Path]) -> dict[str, list[tuple[str, Path]]]:
    """Returns video -> (start in the file's name or nothing, file); a name may be read two ways."""
    by_video = defaultdict(list)
    for file in files:
        for skip in (0, 1) if file.stem.startswith("Y") else (0,):
            video, rest = file.stem[skip : skip + 11], file.stem[skip + 11 :]
            if len(video) == 11 and (match := _SEGMENT.fullmatch(rest)):
                by_video[video].append((match[1] or "", file))
    return by_video


def _find_segment(files: Iterable[tuple[str, Path]], start: float) -> Path | None:
    for text, file in files:
        if not text or float(text) in (start, round(1000 * start), int(start)):
            return file
    return None


def _read_segments(file: Path) -> Iterator[tuple[str, str, str]]:
    for line in csv.reader(read_lines(file), skipinitialspace=True):
        if len(line) > 3 and not line[0].startswith("#"):
            yield line[0], line[1], line[3]
