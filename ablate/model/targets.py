"""Targets: the values that a predictor should output for hidden patches.

As with encoders, settings and modules are separate objects. A target module has no trainable
weights: it is a moving average of the context encoder, or fixed.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.context_encoding import encode_visible, input_packing
from ablate.model.encoder import Encoded, Encoder
from ablate.model.masking import Grid
from ablate.model.moving_average import move_towards
from ablate.model.packing import Packing, find_rows
from ablate.model.prediction_query import PredictionQuery
from ablate.model.token_norms import instance_norm, segment_means, standardise
from ablate.parts import AS_BEFORE

# maps a number to (clips, patches, pixels) of some clips and their valid patches,
# bool (clips, patches)
DrawPatches = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TargetValues:
    """The values to predict for a batch, without gradient."""

    tokens: Tensor  # float32 (target tokens, dim), in the order of `query.targets`
    # float32 (samples, dim): mean target of each clip, if the encoder has a summary token
    clip_means: Tensor | None = None


class Target(nn.Module, ABC):
    """Computes the values that the predictor should output for target patches."""

    dim: int  # width of the target values
    encoder: Encoder | None  # moving average of the context encoder, if there is one

    @abstractmethod
    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Prepares the target from pre-training clips. Called once, before the first step.

        Args:
            draw: Returns the patches of different clips for each number from 0 up, on the device,
                `(clips, patches, pixels)`, and their valid patches.
            seed: Seed of the trial.
        """

    @abstractmethod
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        """Computes the target values of `(clips, patches, pixels)` on the device."""

    def flops(self, query: PredictionQuery) -> int:
        """Counts the floating-point operations of `forward`; 0 if it only gathers."""
        return 0

    @abstractmethod
    def update(self, encoder: Encoder, momentum: float) -> None:
        """Moves towards the context encoder, by 1 - `momentum` of the distance."""

    def attach(self, predictor: nn.Module) -> None:
        """Lets the target read the predictor. Called once, when the weights of both are set."""

    @property
    def pending(self) -> list[Tensor]:
        """Sums over the clips of a step, which are added up over ranks before `finish_step`."""
        return []

    def discard_pending(self) -> None:
        """Clears the sums of a step that is repeated."""

    def finish_step(self, progress: float) -> None:
        """Updates what follows anything but the context encoder, after each step.

        Args:
            progress: The share of training that is done, in [0, 1].
        """


class AbstractTarget(ABC):
    """Settings of a target; subclasses are frozen keyword-only dataclasses.

    Example:
        >>> from ablate.model.targets import Pixels
        >>> from ablate.model.vit import ViT
        >>> grid = Grid(freq=4, time=8)
        >>> encoder = ViT(dim=64, layers=1, heads=4).build(grid, pixels=256)
        >>> Pixels().build(encoder, grid, pixels=256).dim
        256
    """

    discrete: ClassVar[bool] = False  # the values are one-hot clusters

    @abstractmethod
    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        """Builds the target.

        Args:
            encoder: The context encoder, whose weights are set.
            grid: The grid of the patches.
            pixels: Number of values of a patch.
        """


Normalisation = Literal["layer", "standardise", "instance", "instance_then_layer", "none"]


@dataclass(frozen=True, kw_only=True)
class Teacher(AbstractTarget):
    """Features of a target encoder, an exponential moving average of the context encoder.

    The target encoder sees every valid patch of a clip (`input: full`), or only the target patches
    of each sample (`input: targets`), as in M2D (Niizumi et al., ICASSP 2023,
    https://arxiv.org/abs/2210.14648). With `layers: 1` the features are those after its last norm;
    otherwise the mean output of its last `layers` before that norm, as in the paper of data2vec
    (Baevski et al., ICML 2022, https://arxiv.org/abs/2202.03555). Unlike the reference code of
    data2vec and EAT, which averages the output of each layer's feed-forward module before its
    residual sum and norm. A constant momentum of 0 makes the target the context encoder itself with
    a stop-gradient; of 1, the encoder before training.

    `normalise`, in float32 and without weights:

    - none: leaves the features unchanged.
    - layer: normalises each token over its dimensions, as in I-JEPA
      (https://arxiv.org/abs/2301.08243).
    - standardise: the same with the unbiased variance, as in M2D.
    - instance: normalises each dimension over the tokens of a sample that the target encoder saw,
      layer by layer before averaging, as in data2vec.
    - instance_then_layer: `instance`, then `layer`, as in EAT (https://arxiv.org/abs/2401.03497).

    Several layers may also be predicted at once, each with its own part of the target: deep
    supervision as in V-JEPA 2.1 (https://arxiv.org/abs/2603.14482), with `combine: concatenate`.

    Args:
        input: What the target encoder sees.
        layers: Number of last layers, or `all`, or a list of layers, counted from 1.
        normalise: How the features are normalised.
        combine: Whether several layers are averaged, or put next to each other.

    Example:
        target: {type: ablate.model.targets.Teacher, input: full, layers: 8, normalise: instance}
    """

    input: Literal["full", "targets"] = field(default="full", metadata={AS_BEFORE: "full"})
    layers: int | Literal["all"] | tuple[int, ...] = field(default=1, metadata={AS_BEFORE: 1})
    normalise: Normalisation = field(default="layer", metadata={AS_BEFORE: "layer"})
    combine: Literal["average", "concatenate"] = field(
        default="average", metadata={AS_BEFORE: "average"}
    )

    def __post_init__(self) -> None:
        if self.layers == "all":
            if self.combine == "concatenate":
                raise ValueError("`combine: concatenate` needs a number or a list as `layers`")
            return
        numbers = self.layers if isinstance(self.layers, tuple) else (self.layers,)
        if not numbers or min(numbers) < 1:
            raise ValueError(f"`layers` must be `all` or at least 1; got {self.layers}")

    @property
    def num_parts(self) -> int:
        """Number of layers whose features are next to each other in a target."""
        if self.combine == "average" or self.layers == "all":
            return 1
        return len(self.layers) if isinstance(self.layers, tuple) else self.layers

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return TeacherTarget(self, encoder)


class TeacherTarget(Target):
    """A copy of the context encoder that becomes its moving average."""

    encoder: Encoder

    def __init__(self, settings: Teacher, encoder: Encoder) -> None:
        super().__init__()
        self.settings = settings
        self.dim = encoder.dim * settings.num_parts
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False)

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Does nothing: no preparation needed."""

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        if self.settings.input == "targets":
            visible = encode_visible(self.encoder, patches, query.targets, query)
            tokens = self._average_layers(visible.encoded, visible.packing)
            tokens = visible.select_from(tokens, query.target_union)
            return TargetValues(self._normalise(tokens))
        packing = query.clip_patches
        encoded = self.encoder(patches, packing)
        tokens = self._average_layers(encoded, packing)
        rows = find_rows(query.target_union, query.valid, patches.device, copies=query.copies)
        if encoded.summary is None:
            return TargetValues(self._normalise(tokens.index_select(0, rows)))
        tokens = self._normalise(tokens)
        clips = segment_means(tokens, packing).repeat_interleave(query.copies, dim=0)
        return TargetValues(tokens.index_select(0, rows), clips)

    def flops(self, query: PredictionQuery) -> int:
        if self.settings.input == "full":
            return self.encoder.flops(query.clip_patches)
        return self.encoder.flops(input_packing(self.encoder, query.targets, query))

    def _average_layers(self, encoded: Encoded, packing: Packing) -> Tensor:
        return combine_layers(self.settings, encoded, packing)

    def _normalise(self, tokens: Tensor) -> Tensor:
        return normalise_features(self.settings, tokens)

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Sets target = momentum * target + (1 - momentum) * encoder."""
        move_towards(self.encoder, encoder, momentum)


def combine_layers(settings: Teacher, encoded: Encoded, packing: Packing) -> Tensor:
    """Averages or concatenates layers, after normalising each over the tokens of a sample."""
    number = settings.layers
    if isinstance(number, tuple):
        layers = [encoded.layers[layer - 1] for layer in number]
    else:
        layers = list(encoded.layers if number == "all" else encoded.layers[-number:])
        layers = [encoded.tokens] if number == 1 else layers
    if settings.normalise.startswith("instance"):
        layers = [instance_norm(layer.float(), packing) for layer in layers]
    if settings.combine == "concatenate":
        return torch.cat(layers, dim=-1)
    return layers[0] if len(layers) == 1 else torch.stack(layers).mean(dim=0)


def normalise_features(settings: Teacher, tokens: Tensor) -> Tensor:
    """Normalises each token in float32; of concatenated layers, each by itself."""
    parts = tokens.float()
    if settings.num_parts > 1:
        parts = parts.reshape(*parts.shape[:-1], settings.num_parts, -1)
    match settings.normalise:
        case "layer" | "instance_then_layer":
            parts = F.layer_norm(parts, parts.shape[-1:])
        case "standardise":
            parts = standardise(parts)
    return parts.flatten(-2) if settings.num_parts > 1 else parts


@dataclass(frozen=True, kw_only=True)
class Pixels(AbstractTarget):
    """The pixels of the target patches: masked reconstruction, as in AudioMAE and Dasheng.

    Huang et al., NeurIPS 2022, https://arxiv.org/abs/2207.06405; Dinkel et al., Interspeech 2024,
    https://arxiv.org/abs/2406.06992.

    Args:
        normalise: Whether each patch is scaled to mean 0 and standard deviation 1.

    Example:
        target: {type: ablate.model.targets.Pixels, normalise: true}
    """

    normalise: bool = True

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return PixelTarget(self, pixels)


class PixelTarget(Target):
    """Gathers the pixels of target patches, `(target tokens, pixels)`."""

    def __init__(self, settings: Pixels, pixels: int) -> None:
        super().__init__()
        self.normalise = settings.normalise
        self.dim = pixels
        self.encoder = None

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Does nothing: no preparation needed."""

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        pixels = query.targets.gather(patches).float()
        return TargetValues(standardise(pixels) if self.normalise else pixels)

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Does nothing: pixels are fixed."""
