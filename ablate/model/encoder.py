"""The encoder interface: packed patches in, features out.

An encoder's settings and its weights are separate objects: the settings are text in a study and
say what to build; `build` returns the module.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from ablate.core.random import StepRandom
from ablate.model.masking import Grid
from ablate.model.packing import Packing
from ablate.model.transformer import initialise

Hidden = Literal["drop", "replace"]
Support = Literal["embedding", "attention"]


@dataclass(frozen=True)
class Encoded:
    """Output of an encoder: one row per token of the packing it received."""

    tokens: Tensor  # (tokens, dim), after the last norm
    layers: tuple[Tensor, ...]  # output of each layer, (tokens, dim), before the last norm
    summary: Tensor | None = None  # (samples, dim): the summary token after the last norm


class Encoder(nn.Module, ABC):
    """Turns the packed patches of a batch into features.

    `hidden` says how hidden patches are treated:

    - `drop`: the encoder receives a packing of the visible patches only.
    - `replace`: the encoder receives a packing of all valid patches and a mark of the hidden ones.
      A learned embedding replaces their content; their positions stay.
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
        """Encodes the patches that `packing` selects, each sample by itself, and keeps no state.

        Args:
            patches: `(clips, patches, pixels)`.
            packing: Which patches become tokens.
            hidden: bool `(tokens,)` on the device of `patches`: tokens whose content is replaced.
                Only for `replace`; None hides nothing.
            rng: Random numbers of the training step. None, as for a target encoder or a probe,
                makes the result deterministic (no drop path).
        """

    def embed(self, patches: Tensor, packing: Packing) -> Tensor:
        """Maps patches to tokens before the first layer, without positions: `(tokens, dim)`.

        Only encoders whose settings support `embedding` can.

        Args:
            patches: `(clips, patches, pixels)`.
            packing: Which patches become tokens.
        """
        raise NotImplementedError(f"`{type(self).__name__}` does not embed patches separately")

    def measure_attention(self, patches: Tensor, packing: Packing) -> Tensor:
        """Measures how much attention each patch receives in the last layer: `(tokens,)`.

        It is the attention of the summary token if there is one, else the mean over all tokens of
        the sample, averaged over heads. Only encoders whose settings support `attention` can.

        Args:
            patches: `(clips, patches, pixels)`.
            packing: Which patches become tokens.
        """
        raise NotImplementedError(f"`{type(self).__name__}` does not measure its attention")

    @abstractmethod
    def flops(self, packing: Packing) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""


class AbstractEncoder(ABC):
    """Settings of an encoder; subclasses are frozen keyword-only dataclasses.

    An encoder with a summary token has a true attribute `summary`. An attribute `layers`, the
    number of layers, lets a plan count them without building the model.

    Example:
        >>> from ablate.model.masking import Grid
        >>> from ablate.model.vit import ViT
        >>> ViT(dim=64, layers=2, heads=4).build(Grid(freq=4, time=8), pixels=256).dim
        64
    """

    supports: ClassVar[frozenset[Support]] = frozenset()  # further methods of the encoder

    @abstractmethod
    def build(self, grid: Grid, pixels: int) -> Encoder:
        """Builds the encoder. Its weights are not set yet.

        Args:
            grid: The grid of the patches.
            pixels: Number of values of a patch.

        Raises:
            ValueError: The stem or the positions do not fit the patches, the grid or the width.
        """

    def initialise(self, encoder: Encoder, seed: int) -> None:
        """Sets the weights of `encoder`, which `build` returned, on the CPU, from `seed`."""
        initialise(encoder, seed, "encoder")
