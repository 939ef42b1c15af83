"""Augmentations for fine-tuning: they change a labelled batch so that few labels do not overfit.

Defaults marked "EAT" are those of Chen et al., "EAT: Self-Supervised Pre-Training with Efficient
Audio Transformer", IJCAI 2024. https://arxiv.org/abs/2401.03497
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ablate.core.random import StepRandom, derive


@dataclass(frozen=True)
class LabelledBatch:
    """A batch of labelled windows on the CPU."""

    mels: Tensor  # (clips, bands, frames), normalised: 0 is the mean
    labels: Tensor  # float32 (clips, classes), the share of each class in [0, 1]
    visible: Tensor  # bool (clips, patches), patches that the encoder gets
    # bool (clips, patches), tokens that may not attend to themselves; None: all may
    exclude_self: Tensor | None = None


class AbstractAugmentation(ABC):
    """Changes a labelled batch. Subclasses are frozen keyword-only dataclasses.

    Example:
        >>> from ablate.core.random import StepRandom
        >>> from ablate.training.augmentation import LabelledBatch, TokenDrop
        >>> visible = torch.ones(2, 50, dtype=torch.bool)
        >>> batch = LabelledBatch(torch.zeros(2, 64, 100), torch.eye(2), visible)
        >>> TokenDrop(rate=0.5)(batch, StepRandom(0, step=0)).visible.shape
        torch.Size([2, 50])
    """

    @abstractmethod
    def __call__(self, batch: LabelledBatch, rng: StepRandom) -> LabelledBatch:
        """Returns a changed copy of a batch.

        Args:
            batch: The batch of one training step. It must not be modified.
            rng: The only source of random numbers, keyed by the training step.

        Returns:
            A batch whose tensors have the same shapes.
        """


@dataclass(frozen=True, kw_only=True)
class RegularisedMasking(AbstractAugmentation):
    """Stops a random share of the tokens from attending to themselves.

    Their outputs are then computed from the other tokens of the clip only.

    Fei et al., "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
    https://arxiv.org/abs/2311.15830. The paper has no code; we select the same tokens in every
    layer.

    Args:
        rate: Expected share of a clip's tokens, in [0, 1); the default is the paper's.

    Example:
        probes: {tuned: {type: ablate.training.finetuning.FineTuning,
          augmentation: {type: ablate.training.augmentation.RegularisedMasking, rate: 0.1}}}
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        _check_share("rate", self.rate)

    def __call__(self, batch: LabelledBatch, rng: StepRandom) -> LabelledBatch:
        numbers = _draw_per_patch(batch.visible, rng, "regularised masking")
        return replace(batch, exclude_self=batch.visible & (numbers < self.rate))


@dataclass(frozen=True, kw_only=True)
class TokenDrop(AbstractAugmentation):
    """Drops a random share of the patches of each clip, and keeps at least one.

    Args:
        rate: Expected share of a clip's patches, in [0, 1); the default is EAT's.

    Example:
        probes: {tuned: {type: ablate.training.finetuning.FineTuning,
          augmentation: {type: ablate.training.augmentation.TokenDrop, rate: 0.2}}}
    """

    rate: float = 0.2

    def __post_init__(self) -> None:
        _check_share("rate", self.rate)

    def __call__(self, batch: LabelledBatch, rng: StepRandom) -> LabelledBatch:
        numbers = _draw_per_patch(batch.visible, rng, "token drop")
        numbers = numbers.masked_fill(~batch.visible, -1)
        highest = numbers == numbers.amax(dim=1, keepdim=True)
        return replace(batch, visible=batch.visible & ((numbers >= self.rate) | highest))


@dataclass(frozen=True, kw_only=True)
class SpecAugmentation(AbstractAugmentation):
    """Sets stripes of mel bands and of frames to the mean.

    The width of a stripe is drawn per clip, uniformly from 0 to the maximum, both included.
    Park et al., "SpecAugment", Interspeech 2019. https://arxiv.org/abs/1904.08779

    Args:
        freq: Greatest width of a frequency stripe in mel bands; the default is EAT's.
        time: Greatest width of a time stripe in frames; the default is EAT's.
        times: Number of stripes on each axis.

    Example:
        probes: {tuned: {type: ablate.training.finetuning.FineTuning,
          augmentation: {type: ablate.training.augmentation.SpecAugmentation, freq: 25, time: 200}}}
    """

    part = "ablate.training.augmentation.SpecAugment"  # its former name

    freq: int = 25
    time: int = 200
    times: int = 1

    def __post_init__(self) -> None:
        for name in ("freq", "time", "times"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")

    def __call__(self, batch: LabelledBatch, rng: StepRandom) -> LabelledBatch:
        clips, bands, frames = batch.mels.shape
        hidden = torch.zeros_like(batch.mels, dtype=torch.bool)
        for stripe in range(self.times):
            hidden |= _draw_stripes(clips, bands, self.freq, rng, "freq", stripe).unsqueeze(2)
            hidden |= _draw_stripes(clips, frames, self.time, rng, "time", stripe).unsqueeze(1)
        return replace(batch, mels=batch.mels.masked_fill(hidden, 0))


@dataclass(frozen=True, kw_only=True)
class Mixup(AbstractAugmentation):
    """Mixes each clip, and its labels, with another clip of the batch.

    The share of a clip is drawn per clip from Beta(strength, strength). Partners are a permutation
    of the batch, so a clip may be its own partner.
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    https://arxiv.org/abs/1710.09412

    Args:
        strength: Parameter of the beta distribution; small values leave most clips nearly
            unchanged. The default is EAT's.

    Example:
        probes: {tuned: {type: ablate.training.finetuning.FineTuning,
          augmentation: {type: ablate.training.augmentation.Mixup, strength: 0.8}}}
    """

    strength: float = 0.8

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ValueError(f"`strength` must be above 0; got {self.strength}")

    def __call__(self, batch: LabelledBatch, rng: StepRandom) -> LabelledBatch:
        clips = len(batch.mels)
        partner = rng.uniform(clips, "mixup partner").argsort()
        beta = np.random.default_rng(derive(rng.seed, "mixup share", rng.step))
        share = torch.from_numpy(beta.beta(self.strength, self.strength, clips)).float()

        def mix(values: Tensor) -> Tensor:
            own = share.view(-1, *[1] * (values.dim() - 1))
            return own * values + (1 - own) * values[partner]

        return replace(
            batch,
            mels=mix(batch.mels),
            labels=mix(batch.labels),
            visible=batch.visible | batch.visible[partner],
        )


def _draw_per_patch(visible: Tensor, rng: StepRandom, use: str) -> Tensor:
    """Draws a number in [0, 1) per patch, (clips, patches)."""
    return rng.uniform(visible.numel(), use, copies=visible.shape[1]).view_as(visible)


def _draw_stripes(
    clips: int, size: int, max_width: int, rng: StepRandom, axis: str, stripe: int
) -> Tensor:
    """Draws one stripe of 0 to `max_width` positions per clip, bool (clips, size)."""
    widths, starts = (rng.uniform(clips, "stripe", axis, stripe, use) for use in ("width", "start"))
    width = (widths * (min(max_width, size) + 1)).long()
    start = (starts * (size - width + 1)).long()
    position = torch.arange(size)
    return (position >= start.unsqueeze(1)) & (position < (start + width).unsqueeze(1))


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must lie in [0, 1); got {value}")


SpecAugment = SpecAugmentation  # its former name, in studies that name it
