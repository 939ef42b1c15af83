"""Finds files that hold the same sound: identical bytes, or resampled and of another level.

A fingerprint is the log-energy of a sound in 24 bands below 3.4 kHz and 32 equal parts of its
duration, without the mean of each band and of each part: neither the level, nor the sample rate,
nor a filter changes it much, while any two recordings differ in it.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.csv_table import CsvTable
from ablate.audio.decoding import open_audio_file
from ablate.audio.hashing import hash_path
from ablate.audio.waveform_stream import Samples

_BANDS, _PARTS, _FRAMES_PER_PART = 24, 32, 4
_EDGES = np.geomspace(100, 3400, _BANDS + 1)  # Hz
_WINDOW_SECONDS = 0.032
_FLOOR = 1e-6  # relative to the loudest cell
_MIN_DEVIATION = 0.05  # standard deviation of a fingerprint in nepers; less is rounding
_MIN_SIMILARITY = 0.96  # correlation of two fingerprints of the same sound
_MAX_SAMPLES = 1 << 22  # compared per file
_SLACK = 0.01  # relative difference of the durations of equal sounds
_MAX_LISTED = 10  # groups, and files per group
_ROWS = 2048  # fingerprints that are compared at once

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SameSound:
    """Files that hold one sound.

    Attributes:
        files: their indices.
        is_exact: whether their bytes are equal.
    """

    files: tuple[int, ...]
    is_exact: bool


def find_same_sounds(
    files: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> list[SameSound]:
    """Finds groups of files with the same sound; files that cannot be decoded are left out.

    Args:
        files: the files.
        progress: called with the number of files done and of all files.
    """
    digests: list[str] = []
    vectors: list[Vector | None] = []
    durations = np.zeros(len(files))
    first_with: dict[str, int] = {}
    for index, file in enumerate(files):
        digests.append(_hash(file))
        if digests[-1]:
            first_with.setdefault(digests[-1], index)
        is_new = first_with.get(digests[-1]) == index
        vector, durations[index] = _read_fingerprint(file) if is_new else (None, 0.0)
        vectors.append(vector)
        progress(index + 1, len(files))
    links = [(first_with[digest], index) for index, digest in enumerate(digests) if digest]
    usable = [index for index, vector in enumerate(vectors) if vector is not None]
    if usable:
        stacked = np.stack([vector for vector in vectors if vector is not None])
        pairs = _find_similar(stacked, durations[usable])
        links += [(usable[one], usable[other]) for one, other in pairs]
    groups = _join(len(files), links)
    counts = [len({digests[index] for index in group}) for group in groups]
    return [
        SameSound(tuple(group), is_exact=count == 1)
        for group, count in zip(groups, counts, strict=True)
    ]


def describe_same_sounds(
    manifest: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[str]:
    """Yields lines about the duplicates among the files of a manifest."""
    rows = [row.cells for row in CsvTable(manifest, required="path").rows()]
    splits: dict[str, set[str]] = {}  # several for a file whose segments are in several
    for row in rows:
        split = row.get("split") or f"fold {row.get('fold', '')}"
        splits.setdefault(row["path"], set()).add(split)
    names = list(splits)
    if divided := [name for name in names if len(splits[name]) > 1]:
        listed = ", ".join(divided[:_MAX_LISTED]) + (", ..." if divided[_MAX_LISTED:] else "")
        yield f"{len(divided)} files have segments in more than one split or fold: {listed}"
    groups = find_same_sounds([manifest.parent / name for name in names], progress)
    if not groups:
        yield f"no two of {len(names)} files hold the same sound"
        return
    exact = sum(group.is_exact for group in groups)
    crossing = [
        group for group in groups if len(set().union(*(splits[names[i]] for i in group.files))) > 1
    ]
    yield (
        f"{sum(len(group.files) for group in groups)} of {len(names)} files are duplicates, in "
        f"{len(groups)} groups: {exact} of identical bytes, {len(groups) - exact} after resampling "
        "or a change of level or format"
    )
    yield f"{len(crossing)} of these groups are in more than one split or fold"
    ordered = crossing + [group for group in groups if group not in crossing]
    for group in ordered[:_MAX_LISTED]:
        members = (
            f"{names[index]} ({', '.join(sorted(splits[names[index]]))})"
            for index in group.files[:_MAX_LISTED]
        )
        more = ", ..." if len(group.files) > _MAX_LISTED else ""
        yield f"  {' = '.join(members)}{more}"
    if len(ordered) > _MAX_LISTED:
        yield f"  ... and {len(ordered) - _MAX_LISTED} more groups"


def compute_fingerprint(samples: Samples, rate: int) -> Vector | None:
    """Computes the fingerprint of a sound, (bands * parts,), with norm 1.

    None for sounds without any change that could tell them apart, such as silence.
    """
    window = max(8, round(_WINDOW_SECONDS * rate))
    padded = np.pad(samples, (0, max(0, window + 1 - len(samples))))
    count = _PARTS * _FRAMES_PER_PART
    starts = np.linspace(0, len(padded) - window, count).round().astype(np.int64)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    bins = np.fft.rfftfreq(window, 1 / rate)
    weights = np.stack([(bins >= low) & (bins < high) for low, high in _pair_edges(bins)], axis=1)
    energy = (power @ weights.astype(np.float64)).reshape(_PARTS, _FRAMES_PER_PART, -1).mean(axis=1)
    if energy.max() <= 0:
        return None
    levels = np.log(energy / energy.max() + _FLOOR)
    levels = levels - levels.mean(axis=0)
    levels -= levels.mean(axis=1, keepdims=True)
    if levels.std() < _MIN_DEVIATION:
        return None
    vector: Vector = (levels / np.linalg.norm(levels)).astype(np.float32).ravel()
    return vector


def _pair_edges(bins: npt.NDArray[np.floating[Any]]) -> list[tuple[float, float]]:
    """Returns the edges of the bands, each widened to hold at least one bin."""
    step = float(bins[1])
    return [(low, max(high, low + step)) for low, high in itertools.pairwise(_EDGES)]


def _hash(file: Path) -> str:
    try:
        return hash_path(file, None)
    except OSError:
        return ""


def _read_fingerprint(file: Path) -> tuple[Vector | None, float]:
    """Returns the fingerprint and duration of a file; no fingerprint if it cannot be decoded."""
    stream = open_audio_file(file)
    kept: list[Samples] = []
    total = 0
    try:
        for block in stream.blocks():
            if total < _MAX_SAMPLES:
                kept.append(block)
            total += len(block)
    except BadAudioError:
        return None, 0.0
    samples = np.concatenate(kept)[:_MAX_SAMPLES]
    return compute_fingerprint(samples, stream.sample_rate), total / stream.sample_rate


def _find_similar(
    vectors: npt.NDArray[np.float32], durations: npt.NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Returns pairs of rows that are similar and of equal duration."""
    order = np.argsort(durations, kind="stable")
    ordered, times = vectors[order], durations[order]
    limits = np.searchsorted(times, times * (1 + _SLACK) + _WINDOW_SECONDS, side="right")
    pairs = []
    for start in range(0, len(ordered), _ROWS):
        stop = min(start + _ROWS, len(ordered))
        for left in range(start, int(limits[stop - 1]), _ROWS):
            right = min(left + _ROWS, int(limits[stop - 1]))
            similar = ordered[start:stop] @ ordered[left:right].T >= _MIN_SIMILARITY
            for one, other in np.argwhere(similar).tolist():
                place, partner = start + one, left + other
                if place < partner < limits[place]:
                    pairs.append((int(order[place]), int(order[partner])))
    return pairs


def _join(number: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Returns the groups of more than one that links connect, in the order of their first."""
    parents = list(range(number))

    def find(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for one, other in links:
        first, second = sorted((find(one), find(other)))
        parents[second] = first
    roots = [find(index) for index in range(number)]
    sizes = Counter(roots)
    groups: dict[int, list[int]] = {root: [] for root in roots if sizes[root] > 1}
    for index, root in enumerate(roots):
        if root in groups:
            groups[root].append(index)
    return list(groups.values())
