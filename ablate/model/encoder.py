"""The encoding contract: from the patches that are shown to features.

An encoder's settings and its weights are two things: settings are text in a study and say how
to build; what is built is a module.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ablate.model.masking import Grid
from ablate.model.packing import Packing


class Encoder(nn.Module, ABC):
    """Turns the packed patches of a batch into features."""

    dim: int

    @abstractmethod
    def forward(self, patches: Tensor, packing: Packing) -> Tensor:
        """Encodes (batch, patches, pixels), where `packing` says, into (tokens, dim)."""

    @abstractmethod
    def flops(self, packing: Packing) -> int:
        """Counts the operations of one forward pass."""


class AbstractEncoder(ABC):
    """The settings of an encoder; subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def build(self, grid: Grid, pixels: int) -> Encoder:
        """Builds the encoder for patches of `pixels` values on `grid`. Weights are not set yet."""
