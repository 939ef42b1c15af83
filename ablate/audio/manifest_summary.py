"""Summarises a manifest: clips per label and split, and the files that cannot be read."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from ablate.audio.annotations import infer_label_kind, parse_classes
from ablate.audio.decoding import find_problem

MAX_LABELS = 20
MAX_FILES = 10


def summarize_manifest(manifest: Path, progress: Callable[[int, int], None]) -> Iterator[str]:
    """Yields the lines of a summary: a table of clip counts, then the unreadable files.

    The structure of each file is read and its first block decoded; damage in the middle is found
    when the whole file is decoded.

    Args:
        manifest: a manifest written by `write_manifest`.
        progress: called with the number of files checked and the number of all files.
    """
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    yield from _format_counts(rows)
    bad: list[str] = []
    for done, row in enumerate(rows, start=1):
        if reason := find_problem(manifest.parent / row["path"]):
            bad.append(f"{row['path']}: {reason}")
        progress(done, len(rows))
    if bad:
        yield (
            f"{len(bad)} of {len(rows)} files cannot be read. A study stops with an error, or "
            "skips them if `data.on_bad_audio=skip`:"
        )
        yield from (f"  {line}" for line in bad[:MAX_FILES])
        if len(bad) > MAX_FILES:
            yield f"  ... and {len(bad) - MAX_FILES} more"


def _format_counts(rows: list[dict[str, str]]) -> Iterator[str]:
    part = "split" if "split" in rows[0] else "fold"
    clips = Counter(row[part] for row in rows)
    parts = [split for split in ("train", "valid", "test") if split in clips] or sorted(clips)
    kind = infer_label_kind(row.get("label", "") for row in rows)
    # a clip with several labels counts once for each of them
    pairs = [
        (label, row[part]) for row in rows for label in parse_classes(row.get("label", ""), kind)
    ]
    counts, by_label = Counter(pairs), Counter(label for label, _ in pairs)
    listed = sorted(by_label)[:MAX_LABELS]
    width = max(map(len, ("all", *listed)))
    yield f"{'':{width}}  {' '.join(f'{name:>6}' for name in parts)}"
    for label in listed:
        cells = " ".join(f"{counts[label, name]:6}" for name in parts)
        yield f"{label:{width}}  {cells}"
    if len(by_label) > len(listed):
        rest = [count for label, count in by_label.items() if label not in listed]
        yield f"... and {len(rest)} more labels of {min(rest)} to {max(rest)} clips each"
    sums = " ".join(f"{clips[name]:6}" for name in parts)
    yield f"{'all':{width}}  {sums}"
