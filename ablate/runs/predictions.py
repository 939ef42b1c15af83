"""Keeps what probes predicted for every clip: `probes/<task>/<key>.safetensors`, beside the scores.

They allow confusion matrices, scores per class and resampling of clips without training or scoring
again. Per probe seed and pooling, a clip with one label takes two bytes, a clip that may have
several takes two bytes per class, and a second of a clip with events one bit per class. A task with
folds has its clips of all folds.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablate.core.io import DamagedFileError, write_atomically

FORMAT = 2
CHECKSUM = "sha256"  # key in the metadata of a file
Part = Literal["valid", "test"]
# one class per clip, several, events with times, or numbers, which are not kept
Kind = Literal["single", "multi", "events", "numbers"]
Integers = NDArray[np.int64]
Values = NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ClipPredictions:
    """The predictions of one probe for the clips of one part of a task.

    A row is a clip or, in a task of events, a second of a clip; seconds of a clip are in order.
    """

    pooling: str
    part: Part
    kind: Kind = "single"
    clips: Integers  # (rows,), positions in the task
    truth: Values  # (rows,), positions in `classes`; or bool, (rows, classes)
    # (probe seeds, rows), positions in `classes`; or (probe seeds, rows, classes): for several
    # labels probabilities, for events whether there is one
    predicted: Values
    classes: tuple[str, ...]
    groups: Integers  # (rows,), positions in `group_names`
    group_names: tuple[str, ...]  # speakers, recordings, or other clips that belong together
    has_names: bool = True  # False if the names are only positions in the task

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each predicted class is right, (probe seeds, rows); only with one label."""
        return np.asarray(self.predicted == self.truth)

    @property
    def digest(self) -> str:
        """Hash of the rows and their groups, 16 hex digits: equal ones can be paired."""
        arrays = (self.clips, self.groups, self.truth)
        parts = [np.ascontiguousarray(array).tobytes() for array in arrays]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


FindGroups = Callable[[Integers], tuple[Integers, tuple[str, ...]]]


def separate_clips(clips: Integers) -> tuple[Integers, tuple[str, ...]]:
    """Assigns every clip to a group of its own."""
    positions, numbers = np.unique(clips, return_inverse=True)
    return numbers.astype(np.int64), tuple(map(str, positions))


@dataclass(frozen=True)
class PredictionLog:
    """Collects predictions while a probe is scored."""

    collected: dict[tuple[Part, int], list[tuple[Integers, Values, Values]]] = field(
        default_factory=dict
    )

    def add(self, part: Part, seed: int, clips: Integers, predicted: Values, truth: Values) -> None:
        """Adds what was predicted for some clips, given by their positions in the task.

        Args:
            part: Whether the clips are validation or test clips.
            seed: The seed of the probe.
            clips: The clip of each row, (rows,).
            predicted: As in `ClipPredictions`, without probe seeds.
            truth: As in `ClipPredictions`.
        """
        self.collected.setdefault((part, seed), []).append((clips, predicted, truth))

    def build(
        self,
        pooling: str,
        kind: Kind,
        classes: tuple[str, ...],
        find_groups: FindGroups = separate_clips,
    ) -> Iterator[ClipPredictions]:
        """Yields the collected predictions of each part, in the order of the clips."""
        for part in dict.fromkeys(part for part, _ in self.collected):
            by_seed = [
                [np.concatenate(pieces) for pieces in zip(*pieces_by_call, strict=True)]
                for (of_part, _), pieces_by_call in sorted(self.collected.items())
                if of_part == part
            ]
            orders = [np.argsort(clips, kind="stable") for clips, _, _ in by_seed]
            clips, _, truth = (values[orders[0]] for values in by_seed[0])
            groups, names = find_groups(clips)
            yield ClipPredictions(
                pooling=pooling,
                part=part,
                kind=kind,
                clips=clips,
                truth=truth,
                predicted=np.stack(
                    [
                        predicted[order]
                        for (_, predicted, _), order in zip(by_seed, orders, strict=True)
                    ]
                ),
                classes=classes,
                groups=groups,
                group_names=names,
            )


def get_predictions_file(score_file: Path) -> Path:
    """Returns the file of the predictions that belong to a score file."""
    return score_file.with_suffix(".safetensors")


def write_predictions(
    file: Path, predictions: list[ClipPredictions], *, keep_names: bool = False
) -> None:
    """Writes the predictions of one probe on one task; nothing if there are none.

    Names of groups are left out if each clip is a group, unless `keep_names`: other tasks have
    clips of the same recordings.
    """
    if not predictions:
        return
    from safetensors.numpy import save

    arrays, first = {}, predictions[0]
    # every clip a group of its own needs no names
    has_groups = keep_names or any(
        len(each.group_names) < len(np.unique(each.clips)) for each in predictions
    )
    names = sorted({name for each in predictions for name in each.group_names})
    places = {name: place for place, name in enumerate(names)}
    for each in predictions:
        stored = {"clips": each.clips, "truth": each.truth, "predicted": each.predicted}
        if has_groups:
            own = np.array([places[name] for name in each.group_names], dtype=np.int64)
            stored["groups"] = own[each.groups]
        for name, values in stored.items():
            arrays[f"{each.pooling}/{each.part}/{name}"] = np.ascontiguousarray(_pack(values))
    metadata = {
        "format": str(FORMAT),
        "kind": first.kind,
        "classes": json.dumps(first.classes),
        "groups": json.dumps(names if has_groups else []),
    }
    metadata[CHECKSUM] = _compute_checksum(arrays, metadata)
    write_atomically(file, save(arrays, metadata))


def read_predictions(file: Path, pooling: str | None = None) -> list[ClipPredictions]:
    """Reads the predictions of one probe on one task; none if the file does not exist.

    Args:
        file: The file, from `get_predictions_file`.
        pooling: The pooling to read; None for all.

    Raises:
        DamagedFileError: If the file cannot be read, or does not match its checksum.
        ValueError: If the file has another format.
    """
    if not file.is_file():
        return []
    from safetensors import SafetensorError, safe_open

    remedy = f"delete it and {file.stem}.json beside it, then run the study again to score the run"
    try:
        with safe_open(file, framework="np") as content:
            metadata: Mapping[str, str] = content.metadata() or {}
            if metadata.get("format") != str(FORMAT):
                other = metadata.get("format", "none")
                raise ValueError(
                    f"{file}: expected predictions of format {FORMAT}; got {other}; {remedy}"
                )
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedFileError(file, f"cannot be read ({error})", remedy) from error
    # earlier versions wrote no checksum
    if metadata.get(CHECKSUM) not in (None, _compute_checksum(arrays, metadata)):
        raise DamagedFileError(file, "does not match its checksum", remedy)
    groups = dict.fromkeys(name.rpartition("/")[0] for name in sorted(arrays))
    wanted = [group for group in groups if pooling in (None, group.rpartition("/")[0])]
    return [_build(group, arrays, metadata) for group in wanted]


def _compute_checksum(
    arrays: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]
) -> str:
    others = {key: value for key, value in metadata.items() if key != CHECKSUM}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _build(
    group: str, arrays: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]
) -> ClipPredictions:
    pooling, _, part = group.rpartition("/")
    classes = tuple(json.loads(metadata["classes"]))
    own = {
        name: _unpack(arrays[f"{group}/{name}"], len(classes))
        for name in ("clips", "truth", "predicted", "groups")
        if f"{group}/{name}" in arrays
    }
    clips = own["clips"].astype(np.int64)
    numbers, names = separate_clips(clips)
    if "groups" in own:
        numbers, names = own["groups"].astype(np.int64), tuple(json.loads(metadata["groups"]))
    kinds: dict[str, Kind] = {"multi": "multi", "events": "events"}
    return ClipPredictions(
        pooling=pooling,
        part="valid" if part == "valid" else "test",
        kind=kinds.get(metadata["kind"], "single"),
        clips=clips,
        truth=own["truth"],
        predicted=own["predicted"],
        classes=classes,
        groups=numbers,
        group_names=names,
        has_names="groups" in own,
    )


def _pack(values: Values) -> NDArray[np.generic]:
    """Stores booleans as bits, probabilities in half precision, and small integers in 16 bits."""
    if values.dtype == np.bool_:
        return np.packbits(values.astype(np.bool_), axis=-1)
    if values.dtype.kind == "f":
        return values.astype(np.float16)
    return values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32)


def _unpack(values: NDArray[np.generic], num_classes: int) -> Values:
    """Reverses `_pack`."""
    if values.dtype == np.uint8:
        return np.unpackbits(values.view(np.uint8), axis=-1, count=num_classes).astype(np.bool_)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values.astype(np.int64)
