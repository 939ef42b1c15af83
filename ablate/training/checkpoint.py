"""Checkpoints: the training state on disk, from which a run resumes bit for bit.

Random numbers are keyed by step and carry no state, so weights, optimiser and counters are enough.
The newest two checkpoints are kept; an unreadable one is skipped for the one before it.
"""

import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from ablate.core.io import open_atomically

FORMAT = 3  # version of the file format; raise it when the keys of the training state change
NUM_KEPT = 2
MIN_SECONDS = 10.0  # between two checkpoints
WRITE_TIME_FACTOR = 50  # pause of this many write times: writing takes at most 2 % of the run


class Checkpoints:
    """The checkpoints of one run, in their own folder: `step-000000120.pt` after 120 steps.

    A checkpoint is due every `min_seconds`, and less often if writing takes long.
    """

    def __init__(self, folder: Path, *, min_seconds: float = MIN_SECONDS) -> None:
        self._folder = folder
        self._min_seconds = min_seconds
        self._last_write = time.monotonic()
        self._write_seconds = 0.0

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint, or since the start."""
        pause = max(self._min_seconds, WRITE_TIME_FACTOR * self._write_seconds)
        return time.monotonic() - self._last_write >= pause

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state after `step` steps atomically, and removes all but the newest two.

        `state` may hold only tensors and plain values. Raises `OSError` if writing fails.
        """
        start = time.monotonic()
        with open_atomically(self._folder / f"step-{step:09d}.pt") as file:
            torch.save({"format": FORMAT, "state": state}, file)
        for old in self._files()[:-NUM_KEPT]:
            old.unlink(missing_ok=True)  # a superseded attempt may have removed it already
        self._last_write = time.monotonic()
        self._write_seconds = self._last_write - start

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Loads the newest usable state onto the CPU.

        Returns:
            The state, or None if no checkpoint is usable, and one warning per skipped file:
            damaged, or of another format version.
        """
        warnings: list[str] = []
        for path in reversed(self._files()):
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
                warnings.append(f"{path.name} cannot be read ({type(error).__name__}); skipped")
                continue
            if saved.get("format") == FORMAT:
                return saved["state"], warnings
            warnings.append(
                f"{path.name} has format {saved.get('format', 1)}, but this version of ablate "
                f"reads format {FORMAT}; skipped (resume with the version that wrote it)"
            )
        return None, warnings

    @property
    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, readable or not; None without checkpoints."""
        files = self._files()
        return int(files[-1].stem.removeprefix("step-")) if files else None

    def delete(self) -> None:
        """Deletes all checkpoints: a finished run keeps its encoder, not its optimiser."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.pt"))
