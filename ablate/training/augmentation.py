"""What is done to a batch of fine-tuning, so that a few labels are not learnt by heart.

Where a default is called EAT's: Chen et al., IJCAI 2024. https://arxiv.org/abs/2401.03497
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ablate.core.random import StepRandom, derive


@dataclass(frozen=True)
class Exercise:
    """A batch to learn labels from, on the CPU."""

    mels: Tensor  # (clips, bands, frames), normalised: 0 is the mean
    labels: Tensor  # float32 (clips, classes): the share of each class, in [0, 1]
    member: Tensor  # bool (clips, patches): the patches that are shown
    barred: Tensor | None = None  # bool (clips, patches): those barred from their own key and value


class AbstractAugmentation(ABC):
    """Changes a batch; subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def __call__(self, exercise: Exercise, rng: StepRandom) -> Exercise:
        """Returns the batch of one step, changed, in the same shapes; the one given is left alone.

        All random draws come from `rng`, which is keyed by the step.
        """


@dataclass(frozen=True, kw_only=True)
class RegularisedMasking(AbstractAugmentation):
    """Some tokens must do without themselves in attention: they are made of the others.

    Fei et al., "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
    https://arxiv.org/abs/2311.15830. It gives no code; we bar the same tokens in every layer.
    """

    rate: float = 0.1  # share of a clip's tokens, on average; the paper's

    def __post_init__(self) -> None:
        _check_share("rate", self.rate)

    def __call__(self, exercise: Exercise, rng: StepRandom) -> Exercise:
        drawn = _of_patches(exercise.member, rng, "regularised masking")
        return replace(exercise, barred=exercise.member & (drawn < self.rate))


@dataclass(frozen=True, kw_only=True)
class TokenDrop(AbstractAugmentation):
    """Some patches of a clip are not shown; one always is."""

    rate: float = 0.2  # share of a clip's patches, on average; EAT's

    def __post_init__(self) -> None:
        _check_share("rate", self.rate)

    def __call__(self, exercise: Exercise, rng: StepRandom) -> Exercise:
        drawn = _of_patches(exercise.member, rng, "token drop")
        drawn = drawn.masked_fill(~exercise.member, -1)
        last = drawn == drawn.amax(dim=1, keepdim=True)
        return replace(exercise, member=exercise.member & ((drawn >= self.rate) | last))


@dataclass(frozen=True, kw_only=True)
class SpecAugment(AbstractAugmentation):
    """Bands of frequency and stretches of time are set to the mean.

    Widths are drawn clip by clip, uniformly from 0 to the greatest, both included.
    Park et al., "SpecAugment", Interspeech 2019. https://arxiv.org/abs/1904.08779
    """

    freq: int = 25  # mel bands, greatest width of a stripe; this and `time` are EAT's
    time: int = 200  # frames, greatest width of a stripe
    times: int = 1  # stripes on each axis

    def __post_init__(self) -> None:
        for name in ("freq", "time", "times"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")

    def __call__(self, exercise: Exercise, rng: StepRandom) -> Exercise:
        clips, bands, frames = exercise.mels.shape
        hidden = torch.zeros_like(exercise.mels, dtype=torch.bool)
        for stripe in range(self.times):
            hidden |= _stripes(clips, bands, self.freq, rng, "freq", stripe).unsqueeze(2)
            hidden |= _stripes(clips, frames, self.time, rng, "time", stripe).unsqueeze(1)
        return replace(exercise, mels=exercise.mels.masked_fill(hidden, 0))


@dataclass(frozen=True, kw_only=True)
class Mixup(AbstractAugmentation):
    """Each clip is mixed with another of the batch, and so are their labels.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    https://arxiv.org/abs/1710.09412. Shares are drawn clip by clip from Beta(strength, strength);
    partners are a permutation of the batch, in which a clip may meet itself.
    """

    strength: float = 0.8  # EAT's; small ones leave most clips nearly as they are

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ValueError(f"`strength` must be above 0; got {self.strength}")

    def __call__(self, exercise: Exercise, rng: StepRandom) -> Exercise:
        clips = len(exercise.mels)
        partner = rng.uniform(clips, "mixup partner").argsort()
        beta = np.random.default_rng(derive(rng.seed, "mixup share", rng.step))
        share = torch.from_numpy(beta.beta(self.strength, self.strength, clips)).float()

        def mixed(part: Tensor) -> Tensor:
            own = share.view(-1, *[1] * (part.dim() - 1))
            return own * part + (1 - own) * part[partner]

        return replace(
            exercise,
            mels=mixed(exercise.mels),
            labels=mixed(exercise.labels),
            member=exercise.member | exercise.member[partner],
        )


def _of_patches(member: Tensor, rng: StepRandom, use: str) -> Tensor:
    """A number in [0, 1) for each patch of each clip."""
    return rng.uniform(member.numel(), use, copies=member.shape[1]).view_as(member)


def _stripes(clips: int, size: int, widest: int, rng: StepRandom, axis: str, stripe: int) -> Tensor:
    """Marks a stripe of 0 to `widest` places for each clip, bool (clips, size)."""
    wide, first = (rng.uniform(clips, "stripe", axis, stripe, use) for use in ("width", "start"))
    width = (wide * (min(widest, size) + 1)).long()
    start = (first * (size - width + 1)).long()
    place = torch.arange(size)
    return (place >= start.unsqueeze(1)) & (place < (start + width).unsqueeze(1))


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must lie in [0, 1); got {value}")
