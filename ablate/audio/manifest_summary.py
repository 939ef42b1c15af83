"""What a manifest holds: how many clips of each label each split has, and which cannot be read."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile

from ablate.audio.annotations import infer_label_kind, parse_classes
from ablate.audio.sources import describe_decode_error

MOST_LABELS = 20
MOST_FILES = 10


def summarize_manifest(manifest: Path, progress: Callable[[int, int], None]) -> Iterator[str]:
    """Says, a line each, what a manifest holds, and which of its files are no sound.

    The manifest is one that `write_manifest` wrote; `progress` is told files done, files in all.
    Only the head of a file is read: one that breaks off later is told when it is decoded.
    """
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    yield from _counted(rows)
    bad: list[str] = []
    for done, row in enumerate(rows, start=1):
        if reason := _unreadable(manifest.parent / row["path"]):
            bad.append(f"{row['path']}: {reason}")
        progress(done, len(rows))
    if bad:
        yield (
            f"{len(bad)} of {len(rows)} files cannot be read. A study refuses them, or skips them "
            "with `data.on_bad_audio=skip`:"
        )
        yield from (f"  {line}" for line in bad[:MOST_FILES])
        if len(bad) > MOST_FILES:
            yield f"  ... and {len(bad) - MOST_FILES} more"


def _counted(rows: list[dict[str, str]]) -> Iterator[str]:
    part = "split" if "split" in rows[0] else "fold"
    clips = Counter(row[part] for row in rows)
    parts = [split for split in ("train", "valid", "test") if split in clips] or sorted(clips)
    kind = infer_label_kind(
        row["label"] for row in rows
    )  # a clip of several labels counts for each
    told = [(label, row[part]) for row in rows for label in parse_classes(row["label"], kind)]
    counts, by_label = Counter(told), Counter(label for label, _ in told)
    shown = sorted(by_label)[:MOST_LABELS]
    width = max(map(len, ("all", *shown)))
    yield f"{'':{width}}  {' '.join(f'{name:>6}' for name in parts)}"
    for label in shown:
        cells = " ".join(f"{counts[label, name]:6}" for name in parts)
        yield f"{label:{width}}  {cells}"
    if len(by_label) > len(shown):
        rest = [count for label, count in by_label.items() if label not in shown]
        yield f"... and {len(rest)} more labels of {min(rest)} to {max(rest)} clips each"
    sums = " ".join(f"{clips[name]:6}" for name in parts)
    yield f"{'all':{width}}  {sums}"


def _unreadable(file: Path) -> str:
    """Says why a file is no sound; nothing where it is one."""
    try:
        with soundfile.SoundFile(file) as sound:
            return "" if sound.frames else "holds no samples"
    except (soundfile.SoundFileError, OSError) as error:
        return describe_decode_error(error)
