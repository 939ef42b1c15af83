"""What the training steps of peers have in common: sizes, sound, optimiser groups."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ablate.core.random import generator
from ablate.model.precision import Precision, autocast
from ablate.worker.benchmarks.plain_jepa import Sizes
from ablate.worker.trial import Trial

MANY_STEPS = 100_000  # so that schedules do not end
HIDDEN = 0.6  # share of the patches that random masks hide


@dataclass(frozen=True, kw_only=True)
class PeerSizes:
    """The sizes of a trial of ours that a peer's model is built with."""

    freq: int  # patches
    time: int
    patch: int  # frames and bands of a square patch
    encoder: Sizes
    predictor: Sizes
    batch: int
    precision: Precision
    device: torch.device

    @classmethod
    def from_trial(cls, trial: Trial, device: torch.device) -> "PeerSizes":
        """Takes the sizes of a trial whose patches are squares."""
        parts: list[Any] = [trial.encoder, trial.predictor]
        encoder, predictor = (Sizes(p.dim, p.layers, p.heads, p.mlp_ratio) for p in parts)
        return cls(
            freq=trial.grid.freq,
            time=trial.grid.time,
            patch=trial.crop_frames // trial.grid.time,
            encoder=encoder,
            predictor=predictor,
            batch=trial.budget.batch,
            precision=trial.optimizer.precision,
            device=device,
        )

    def draw_clips(self, rows: int, columns: int) -> list[Tensor]:
        """Draws clips of noise with as many rows and columns of patches, (1, height, width)."""
        shape = (self.batch, 1, rows * self.patch, columns * self.patch)
        return [*torch.randn(shape, generator=generator(0, "noise"))]

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns the context in which the models compute."""
        return autocast(self.precision, self.device)


@dataclass(frozen=True)
class PeerStep:
    """A training step of a peer, and how many visible tokens its last mask had."""

    name: str
    take: Callable[[], int]


def split_parameters(modules: list[nn.Module]) -> Iterator[dict[str, Any]]:
    """Yields groups of parameters as I-JEPA and Audio-JEPA have them: vectors do not decay."""
    for excluded in (False, True):
        for module in modules:
            chosen = [p for p in module.parameters() if (p.ndim == 1) == excluded]
            yield {
                "params": chosen,
                **({"WD_exclude": True, "weight_decay": 0} if excluded else {}),
            }
