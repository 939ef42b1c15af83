"""Reads the encoder of a finished run, from its run folder or from an exported folder."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ablate.core.checked_tensors import load_tensors
from ablate.core.records.export import EXPORT_FILE, ExportedEncoder
from ablate.core.records.run import CONFIG_FILE, ENCODER_FILE, RunConfig
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.masking import Grid
from ablate.parts import build


@dataclass(frozen=True)
class SavedEncoder:
    """The settings and the weights of a trained encoder."""

    folder: Path
    settings: dict[str, Any]  # mel, patchifier, encoder, crop_frames
    digest: str  # SHA-256 of the weights, the first 16 hex digits

    @functools.cached_property
    def encoder(self) -> AbstractEncoder:
        """The settings of the encoder."""
        return build(self.settings["encoder"], expect=AbstractEncoder)

    def build(self, grid: Grid, pixels: int) -> Encoder:
        """Builds the encoder with its weights.

        Raises:
            ValueError: If the weights do not fit the grid.
        """
        encoder = self.encoder.build(grid, pixels)
        if any(p.is_meta for p in encoder.parameters()):  # a plan counts weights without any
            return encoder
        self.load_into(encoder)
        return encoder

    def load_into(self, encoder: Encoder) -> None:
        """Sets the weights of an encoder. Raises `ValueError` if they do not fit."""
        try:
            encoder.load_state_dict(self._load_weights())
        except RuntimeError as error:
            raise ValueError(
                f"the weights in `{self.folder}` do not fit the trial's patches; use the "
                f"patchifier and the crop of that run: {str(error).splitlines()[-1].strip()}"
            ) from error

    def _load_weights(self) -> dict[str, Tensor]:
        saved = load_tensors(self.folder / ENCODER_FILE)
        prefix = "encoder."
        return {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}


def read_encoder(folder: str, digest: str = "") -> SavedEncoder:
    """Reads an encoder's settings and the digest of its weights.

    Args:
        folder: Folder of a finished run, or one written by `ablate export`.
        digest: The expected digest; empty for any.

    Raises:
        ValueError: If the folder has no trained encoder, or one with other weights.
    """
    path = Path(folder)
    if not (path / ENCODER_FILE).is_file() or not any(
        (path / f).is_file() for f in (EXPORT_FILE, CONFIG_FILE)
    ):
        raise ValueError(
            f"`{folder}` has no trained encoder; give the folder of a finished run, or one that "
            "`ablate export` wrote"
        )
    stat = (path / ENCODER_FILE).stat()
    actual = _hash_file(path / ENCODER_FILE, stat.st_size, stat.st_mtime_ns)
    if digest and actual != digest:
        raise ValueError(
            f"the weights in `{folder}` have changed since the trial was planned: their digest is "
            f"{actual} instead of {digest}; plan again, or restore them"
        )
    if (path / EXPORT_FILE).is_file():
        record = ExportedEncoder.read(path / EXPORT_FILE)
        settings: dict[str, Any] = {
            "mel": record.mel,
            "patchifier": record.patchifier,
            "encoder": record.encoder,
            "crop_frames": record.crop_frames,
        }
    else:
        settings = RunConfig.read(path / CONFIG_FILE).settings
    return SavedEncoder(path, settings, actual)


def find_digest(folder: str, expected: str = "") -> str:
    """Returns the digest of the weights in a folder; `expected` if there are none.

    A missing folder is reported when the trial is validated. Raises `ValueError` for other weights
    than expected.
    """
    if not (Path(folder) / ENCODER_FILE).is_file():
        return expected
    return read_encoder(folder, expected).digest


@functools.lru_cache(maxsize=64)
def _hash_file(file: Path, size: int, modified: int) -> str:
    """Hashes a file; it is hashed again if its size or time of change differs."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
