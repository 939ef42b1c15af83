"""Checkpoints: the training state on disk, from which a run resumes bit for bit.

Random numbers are keyed by step and carry no state, so weights, optimiser and counters are enough.
The newest two checkpoints are kept; one that does not match its checksum is skipped for the one
before it.
"""

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from ablate.core.io import open_atomically

FORMAT = 4  # version of the file format; raise it when the keys of the training state change
# at the end of a file, before its checksum in hexadecimal
SEAL = f"ablate checkpoint {FORMAT} sha256 ".encode()
SEAL_BYTES = len(SEAL) + 64
BLOCK_BYTES = 1 << 20  # read at once to verify a checkpoint
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
            hashing = _HashingWriter(file)
            torch.save({"format": FORMAT, "state": state}, cast(BinaryIO, hashing))
            file.write(SEAL + hashing.digest.hexdigest().encode())
        for old in self._files()[:-NUM_KEPT]:
            old.unlink(missing_ok=True)  # a superseded attempt may have removed it already
        self._last_write = time.monotonic()
        self._write_seconds = self._last_write - start

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Loads the newest usable state onto the CPU.

        Returns:
            The state, or None if no checkpoint is usable, and one warning per skipped file: its
            content does not match its checksum, or it has another format version.
        """
        warnings: list[str] = []
        for path in reversed(self._files()):
            problem = _find_problem(path)
            if problem is None:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                return saved["state"], warnings
            warnings.append(f"{path.name} {problem}; skipped")
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


class _HashingWriter:
    """Passes what is written on to a file, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()


def _find_problem(path: Path) -> str | None:
    """Returns why a checkpoint cannot be used; None if its content matches its checksum."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            left = path.stat().st_size - SEAL_BYTES
            while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
            seal = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if seal.startswith(SEAL):
        expected = seal.removeprefix(SEAL).decode(errors="replace")
        return None if expected == digest.hexdigest() else "does not match its checksum"
    return (
        f"is damaged, or of another format than {FORMAT} (resume such a one with the version that "
        "wrote it)"
    )
