"""Checkpoints: all that a training needs to go on as if it had never stopped.

Random draws are keyed by step and carry no state, so weights, optimiser, and counters are enough.
The last two are kept; one that cannot be read is passed over for the one before.
"""

import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from ablate.core.io import replacing

KEPT = 2
LEAST_SECONDS = 10.0  # between two checkpoints
PATIENCE = 50  # times as long as the last one took to write: at most 2 % of the time is spent


class Checkpoints:
    """The checkpoints of one run, in a folder of their own: `step-000000120.pt` after 120 steps.

    One is due every `least_seconds`, and more rarely where writing takes long.
    """

    def __init__(self, folder: Path, *, least_seconds: float = LEAST_SECONDS) -> None:
        self._folder = folder
        self._least_seconds = least_seconds
        self._written = time.monotonic()
        self._took = 0.0

    @property
    def due(self) -> bool:
        """Whether the last one was written, or this was made, long enough ago to write another."""
        pause = max(self._least_seconds, PATIENCE * self._took)
        return time.monotonic() - self._written >= pause

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state after `step` steps, atomically; removes those before the last two.

        `state` holds tensors and plain values only. Raises `OSError` where it cannot be written.
        """
        began = time.monotonic()
        with replacing(self._folder / f"step-{step:09d}.pt") as file:
            torch.save(state, file)
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)  # an attempt that is superseded removes them, too
        self._written = time.monotonic()
        self._took = self._written - began

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the newest state that can be read, or None, and a warning for each that cannot.

        Its tensors lie on the CPU: what they are put back into lies on the device already.
        """
        warnings: list[str] = []
        for path in reversed(self._files()):
            try:
                return torch.load(path, map_location="cpu", weights_only=True), warnings
            except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
                warnings.append(f"{path.name} cannot be read ({type(error).__name__}); passed over")
        return None, warnings

    @property
    def newest(self) -> int | None:
        """The step of the newest, readable or not; None where there is none."""
        files = self._files()
        return int(files[-1].stem.removeprefix("step-")) if files else None

    def drop(self) -> None:
        """Removes all: a finished run keeps its encoder, not its optimiser."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.pt"))
