"""The encoding contract: from the patches that are shown to features.

An encoder's settings and its weights are two things: settings are text in a study and say how
to build; what is built is a module.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ablate.core.random import StepRandom
from ablate.model.masking import Grid
from ablate.model.packing import Packing

Hidden = Literal["drop", "replace"]


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a batch: a row for each token of the packing that it was given."""

    tokens: Tensor  # (tokens, dim), after the last norm
    layers: tuple[Tensor, ...]  # each layer's output (tokens, dim), first to last, before that norm
    summary: Tensor | None = None  # (samples, dim): the summary token after the last norm


class Encoder(nn.Module, ABC):
    """Turns the packed patches of a batch into features.

    What becomes of hidden patches is the encoder's own: one that drops them is given a packing
    of the visible patches; one that replaces them is given a packing of all real patches, and
    told which of these are `hidden`: a learned embedding stands in for what they hold, while
    their place stays known.
    """

    dim: int
    hidden: Hidden

    @abstractmethod
    def forward(
        self,
        patches: Tensor,
        packing: Packing,
        *,
        hidden: Tensor | None = None,
        rng: StepRandom | None = None,
    ) -> Encoded:
        """Encodes those of (clips, patches, pixels) that `packing` lists.

        `hidden`, bool (tokens,) on the device of the patches, is for an encoder that replaces;
        without it nothing is hidden. `rng` is that of a training step; without it nothing is
        left to chance, as in a target encoder or a probe.
        """

    @abstractmethod
    def flops(self, packing: Packing) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""


class AbstractEncoder(ABC):
    """The settings of an encoder; subclasses are frozen keyword-only dataclasses.

    One that gives a summary says so by an attribute `summary` that is true, and one whose layers
    are to be counted by a plan how many there are by `layers`.
    """

    @abstractmethod
    def build(self, grid: Grid, pixels: int) -> Encoder:
        """Builds the encoder for patches of `pixels` values on `grid`. Weights are not set yet.

        Raises `ValueError` where stem or positions do not fit the patches, the grid or the width.
        """
