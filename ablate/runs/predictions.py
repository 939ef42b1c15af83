"""Keeps what probes predicted for every clip: `probes/<task>/<key>.safetensors`, beside the scores.

They allow confusion matrices, scores per class and resampling of clips without training or scoring
again. A clip takes two bytes per probe seed and pooling. Only tasks with one label per clip are
kept; a task with folds has its clips of all folds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
Part = Literal["valid", "test"]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClipPredictions:
    """The predictions of one probe for the clips of one part of a task."""

    pooling: str
    part: Part
    clips: Integers  # (clips,), positions in the task
    truth: Integers  # (clips,), classes as positions in `classes`
    predicted: Integers  # (probe seeds, clips)
    classes: tuple[str, ...]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, (probe seeds, clips)."""
        return np.asarray(self.predicted == self.truth)


@dataclass(frozen=True)
class PredictionLog:
    """Collects predictions while a probe is scored."""

    collected: dict[tuple[Part, int], list[tuple[Integers, Integers]]] = field(default_factory=dict)

    def add(self, part: Part, seed: int, clips: Integers, predicted: Integers) -> None:
        """Adds the predicted classes of some clips, given by their positions in the task."""
        self.collected.setdefault((part, seed), []).append((clips, predicted))

    def build(
        self, pooling: str, labels: NDArray[np.generic], classes: tuple[str, ...]
    ) -> Iterator[ClipPredictions]:
        """Yields the collected predictions of each part, in the order of the clips."""
        for part in dict.fromkeys(part for part, _ in self.collected):
            by_seed = [
                [np.concatenate(pieces) for pieces in zip(*pieces_by_call, strict=True)]
                for (of_part, _), pieces_by_call in sorted(self.collected.items())
                if of_part == part
            ]
            orders = [np.argsort(clips, kind="stable") for clips, _ in by_seed]
            clips = by_seed[0][0][orders[0]]
            yield ClipPredictions(
                pooling=pooling,
                part=part,
                clips=clips,
                truth=labels[clips].astype(np.int64),
                predicted=np.stack(
                    [
                        predicted[order]
                        for (_, predicted), order in zip(by_seed, orders, strict=True)
                    ]
                ),
                classes=classes,
            )


def get_predictions_file(score_file: Path) -> Path:
    """Returns the file of the predictions that belong to a score file."""
    return score_file.with_suffix(".safetensors")


def write_predictions(file: Path, predictions: list[ClipPredictions]) -> None:
    """Writes the predictions of one probe on one task; nothing if there are none."""
    if not predictions:
        return
    from safetensors.numpy import save

    from ablate.core.io import write_atomically

    arrays = {}
    for each in predictions:
        for name in ("clips", "truth", "predicted"):
            values = getattr(each, name)
            small = np.int16 if values.max(initial=0) < 2**15 else np.int32
            arrays[f"{each.pooling}/{each.part}/{name}"] = np.ascontiguousarray(values, small)
    metadata = {"format": str(FORMAT), "classes": json.dumps(predictions[0].classes)}
    write_atomically(file, save(arrays, metadata))


def read_predictions(file: Path) -> list[ClipPredictions]:
    """Reads the predictions of one probe on one task; none if the file does not exist.

    Raises:
        ValueError: If the file has another format.
    """
    if not file.is_file():
        return []
    from safetensors import safe_open

    with safe_open(file, framework="np") as content:
        metadata: Mapping[str, str] = content.metadata() or {}
        if metadata.get("format") != str(FORMAT):
            raise ValueError(
                f"{file}: expected predictions of format {FORMAT}; got "
                f"{metadata.get('format', 'none')}; delete the file, then score the run again"
            )
        arrays = {name: content.get_tensor(name).astype(np.int64) for name in content.keys()}  # noqa: SIM118
    classes = tuple(json.loads(metadata["classes"]))
    groups = dict.fromkeys(name.rpartition("/")[0] for name in sorted(arrays))
    return [_build(group, arrays, classes) for group in groups]


def _build(group: str, arrays: Mapping[str, Integers], classes: tuple[str, ...]) -> ClipPredictions:
    pooling, _, part = group.rpartition("/")
    return ClipPredictions(
        pooling=pooling,
        part="valid" if part == "valid" else "test",
        clips=arrays[f"{group}/clips"],
        truth=arrays[f"{group}/truth"],
        predicted=arrays[f"{group}/predicted"],
        classes=classes,
    )
