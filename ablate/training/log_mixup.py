"""Mixes log-mels in the exponential domain of their normalised values, as BYOL for Audio does."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ablate.training.input_scale import InputScale
from ablate.training.input_views import AbstractView


@dataclass(frozen=True, kw_only=True)
class LogMixup(AbstractView):
    """Adds a small share of another clip of the batch to each log-mel.

    The result is log((1 - a) exp(x) + a exp(z)) of the normalised values x of a clip and z of the
    other, with `a` drawn for each clip from 0 to `ratio`. This is no mixture of energies: the
    spread of normalised values is not that of log-mels. `Mix` adds energies.

    Niizumi et al., "BYOL for Audio", IJCNN 2021, sec. 3.3.1. https://arxiv.org/abs/2103.06695
    As in ATST-Frame, https://github.com/Audio-WestlakeU/audiossl at ec3a14d,
    audiossl/transforms/byol_a.py:61-115. Unlike the code, which mixes in one of the last 2,000
    clips of its loading process: one of the other clips of the batch, because nothing is carried
    from step to step. A waveform is refused: use a log-mel.

    Args:
        ratio: Greatest share of the other clip, in [0, 1].

    Example:
        view: {type: ablate.training.log_mixup.LogMixup, ratio: 0.4}
    """

    needs_log_mel: ClassVar[bool] = True
    mixes_clips: ClassVar[bool] = True

    ratio: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"`ratio` must lie in [0, 1]; got {self.ratio}")

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        self.check_scale(scale)
        clips = len(mels)
        share = self.ratio * torch.rand(clips, 1, 1, generator=rng)
        step = 1 + (torch.rand(clips, generator=rng) * (clips - 1)).long().clamp(max=clips - 2)
        if clips == 1:
            return mels
        other = (torch.arange(clips) + step) % clips
        mixed = torch.logaddexp(mels + (1 - share).log(), mels[other] + share.log())
        both = (valid_frames & valid_frames[other]).unsqueeze(1)
        return torch.where(both, mixed, mels)
