"""Writes what a run records while it trains: metrics, TensorBoard scalars and mask images."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from ablate.core.io import write_atomically
from ablate.core.records.messages import TensorBoardEntry
from ablate.core.records.metrics_log import METRICS_FILE, format_line, read_rows
from ablate.training.metrics import TrainingMetrics
from ablate.training.online_probe import ProbeResult

MAX_CLOCK_SKEW = 10.0  # seconds by which the clock of the node that resumes a run may be behind
NUM_IMAGES = 5  # mask images per run, evenly over the steps
IMAGE_TAG = "mask: grey is context, each colour a block of targets, dark is neither"


class Recorder:
    """Writes `metrics.jsonl` and `tb/` of one run. Use it as a context manager.

    Args:
        folder: The run folder.
        steps: Number of steps of the run.
        done: Steps done by earlier attempts; what they wrote about later steps is removed.
    """

    def __init__(self, folder: Path, steps: int, *, done: int = 0) -> None:
        self._folder = folder
        self._steps = steps
        self._done = done
        self._num_images = done * NUM_IMAGES // steps

    def __enter__(self) -> "Recorder":
        path = self._folder / METRICS_FILE
        rows = read_rows(path) if self._done else []
        kept = [format_line(row) for row in rows if row["step"] <= self._done]
        write_atomically(path, "".join(kept))
        self._file = path.open("a")
        purge_step = self._done + 1 if self._done else 0  # from the start, remove step 0 too
        _wait_for_new_second(self._folder / "tb")
        self._tensorboard = SummaryWriter(str(self._folder / "tb"), purge_step=purge_step)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._tensorboard.close()

    def write(self, metrics: TrainingMetrics | None, result: ProbeResult | None) -> None:
        """Writes the metrics, the online probe's result, or both of one step, as a line of JSON.

        Numbers are rounded to six significant digits, here and for TensorBoard.
        """
        row: dict[str, Any] = {}
        if metrics is not None:
            present = {name: value for name, value in asdict(metrics).items() if value is not None}
            row = {name: round_off(value) for name, value in present.items()}
            self._add_scalars("train", row, metrics.step)
        if result is not None:
            tasks = {name: round_off(value) for name, value in result.tasks.items()}
            score = round_off(result.score)
            self._add_scalars("online", {"score": score, **tasks}, result.step)
            row |= {"step": result.step, "online_score": score, "online_scores": tasks}
        self._file.write(format_line(row))
        self._file.flush()

    def _add_scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if name != "step":
                self._tensorboard.add_scalar(f"{group}/{name}", value, step)

    def add_image(self, step: int, draw: Callable[[], npt.NDArray[np.float32]]) -> None:
        """Adds a mask image if one is due after `step` steps.

        `draw` is called only then. It returns float32 (height, width, RGB) in [0, 1] whose first
        row is the lowest frequency band.
        """
        due = step * NUM_IMAGES // self._steps
        if due > self._num_images:
            self._num_images = due
            image = np.flipud(draw())  # low frequencies at the bottom
            self._tensorboard.add_image(IMAGE_TAG, image, step, dataformats="HWC")


def write_tensorboard(folder: Path, entries: Sequence[TensorBoardEntry]) -> None:
    """Writes curves and hyper-parameters for TensorBoard.

    Args:
        folder: Where to write; each entry gets the sub-folder of its `name`.
        entries: Curves with a `tag` and `points` (step, value), and trials with `settings` and a
            `score`.
    """
    for entry in entries:
        with SummaryWriter(str(folder / entry.name)) as writer:
            for step, value in entry.points:
                writer.add_scalar(entry.tag, value, step)
            if entry.score is not None:
                score = {"score": entry.score}
                for part in hparams(entry.settings, score):  # type: ignore[no-untyped-call]
                    writer.file_writer.add_summary(part)
                writer.add_scalar("score", entry.score, 0)


def _wait_for_new_second(folder: Path) -> None:
    """Waits until the second has passed in which the newest event file was created.

    TensorBoard reads the files of a run in order of their names: second, host, process. Of two
    files of the same second, or after a switch to a node whose clock is behind, the older file may
    come last and purge the newer one.
    """
    seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*")]
    left = max(seconds, default=0) + 1 - time.time()
    if 0 < left <= MAX_CLOCK_SKEW:
        time.sleep(left)


def round_off(value: float) -> float:
    """Rounds a float to six significant digits; integers stay as they are."""
    return value if isinstance(value, int) else float(f"{value:.6g}")
