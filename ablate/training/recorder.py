"""What a run leaves on disk while it trains: metrics, TensorBoard scalars and mask pictures."""

import json
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
from ablate.training.metrics import Log
from ablate.training.online_probe import Standing

LATE = 10.0  # seconds by which the clock of the node that goes on with a run may be behind
PICTURES = 5  # per run, evenly over the steps


class Record:
    """Writes one run's `metrics.jsonl` and `tb/`. Use it as a context manager.

    `done` steps have been recorded by an attempt before; what it wrote of later ones is removed.
    """

    def __init__(self, folder: Path, steps: int, *, done: int = 0) -> None:
        self._folder = folder
        self._steps = steps
        self._done = done
        self._pictured = done * PICTURES // steps

    def __enter__(self) -> "Record":
        path = self._folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if self._done else []
        standing = [line for line in lines if _stands(line, self._done)]
        write_atomically(path, "".join(standing))
        self._metrics = path.open("a")
        purged = self._done + 1 if self._done else 0  # there is something of step 0 to cut, too
        _outwait(self._folder / "tb")
        self._board = SummaryWriter(str(self._folder / "tb"), purge_step=purged)
        return self

    def __exit__(self, *error: object) -> None:
        self._metrics.close()
        self._board.close()

    def write(self, log: Log | None, standing: Standing | None) -> None:
        """Writes a report, what the online probe found, or both of one step: a line of JSON.

        Numbers are rounded to six digits, here and on TensorBoard.
        """
        told: dict[str, Any] = {}
        if log is not None:
            told = {name: round_off(value) for name, value in asdict(log).items()}
            self._draw("train", told, log.step)
        if standing is not None:
            tasks = {name: round_off(value) for name, value in standing.tasks.items()}
            score = round_off(standing.score)
            self._draw("online", {"score": score, **tasks}, standing.step)
            told |= {"step": standing.step, "online_score": score, "online_scores": tasks}
        self._metrics.write(json.dumps(told) + "\n")
        self._metrics.flush()

    def _draw(self, group: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if name != "step":
                self._board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, step: int, paint: Callable[[], npt.NDArray[np.float32]]) -> None:
        """Adds a picture, painted only when one is due after `step` steps.

        `paint` gives float32 (height, width, RGB) in [0, 1], its first row the lowest band.
        """
        due = step * PICTURES // self._steps
        if due > self._pictured:
            self._pictured = due
            upright = np.flipud(paint())  # low frequencies at the bottom
            self._board.add_image("mask", upright, step, dataformats="HWC")


def write_board(folder: Path, curves: Sequence[Mapping[str, Any]]) -> None:
    """Writes curves and settings for TensorBoard, each into the folder of its `name`.

    A curve has a `tag` and `points`, (step, value) each; a trial has `settings` and its `score`.
    """
    for curve in curves:
        with SummaryWriter(str(folder / curve["name"])) as board:
            for step, value in curve.get("points", ()):
                board.add_scalar(curve["tag"], value, step)
            if curve.get("score") is not None:
                score = {"score": curve["score"]}
                for part in hparams(curve["settings"], score):  # type: ignore[no-untyped-call]
                    board.file_writer.add_summary(part)
                board.add_scalar("score", curve["score"], 0)


def _outwait(board: Path) -> None:
    """Waits out the second in which the newest file of events was begun.

    TensorBoard reads a run's files in the order of their names, which begin with the second, then
    tell host and process: of two begun in one second, or on a node whose clock is behind, the older
    may come last and purge the newer.
    """
    begun = [int(path.name.split(".")[3]) for path in board.glob("events.out.tfevents.*")]
    left = max(begun, default=0) + 1 - time.time()
    if 0 < left <= LATE:
        time.sleep(left)


def _stands(line: str, done: int) -> bool:
    """Whether a line of metrics is whole, and of a step that need not be taken again."""
    return line.endswith("}\n") and int(json.loads(line)["step"]) <= done


def round_off(value: float) -> float:
    """Keeps six significant digits, which is more than a metric means."""
    return value if isinstance(value, int) else float(f"{value:.6g}")
