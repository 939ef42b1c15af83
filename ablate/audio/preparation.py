"""Preparing sound before it becomes frames: silence cut out, and one level for all clips.

The encoder that did best in the ICME 2025 challenge on X-ARES gained from both. A constant offset
is always removed, by every front end.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.audio.mel import AbstractFrontEnd, Normalisation

_PIECE_SECONDS = 0.02  # what is looked at for silence
_SILENCE = 1e-5  # RMS, -100 dB of full scale: nothing is raised from below


@dataclass(frozen=True, kw_only=True)
class Prepared(AbstractFrontEnd):
    """Another front end, given sound that was prepared.

    Cutting silence moves what comes after it: events with times no longer lie where labels say.
    """

    front_end: AbstractFrontEnd
    silence_db: float | None = None  # pieces of 20 ms this far below the loudest are cut out
    level_db: float | None = None  # the RMS that each clip is brought to, against full scale

    def __post_init__(self) -> None:
        if self.silence_db is None and self.level_db is None:
            raise ValueError(
                "give `silence_db`, `level_db` or both; `Prepared` does nothing without them"
            )
        if self.silence_db is not None and self.silence_db <= 0:
            raise ValueError(f"`silence_db` must be above 0; got {self.silence_db}")
        if self.level_db is not None and not -100 < self.level_db <= 0:
            raise ValueError(f"`level_db` must lie in (-100, 0]; got {self.level_db}")

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Turns a waveform, float32 (samples,), into float32 (frames, bands)."""
        sound = waveform - waveform.mean()
        if self.silence_db is not None:
            sound = _without_silence(sound, round(_PIECE_SECONDS * sample_rate), self.silence_db)
        level = sound.square().mean().sqrt()
        if self.level_db is not None and level > _SILENCE:
            sound = sound * (10 ** (self.level_db / 20) / level)
        return self.front_end(sound, sample_rate)

    @property
    def bands(self) -> int:
        """Those of the front end within."""
        return self.front_end.bands

    @property
    def hop_seconds(self) -> float:
        """That of the front end within."""
        return self.front_end.hop_seconds

    @property
    def window_seconds(self) -> float:
        """That of the front end within."""
        return self.front_end.window_seconds

    @property
    def normalisation(self) -> Normalisation:
        """That of the front end within."""
        return self.front_end.normalisation


def _without_silence(sound: Tensor, piece: int, silence_db: float) -> Tensor:
    """Joins the pieces that are loud enough; of silence alone, all."""
    pieces = torch.split(sound, max(1, piece))
    levels = torch.stack([part.square().mean().sqrt() for part in pieces])
    loudest = levels.max()
    if loudest <= _SILENCE:
        return sound
    kept = levels >= loudest * 10 ** (-silence_db / 20)
    return torch.cat([part for part, keep in zip(pieces, kept.tolist(), strict=True) if keep])
