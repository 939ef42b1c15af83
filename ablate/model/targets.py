"""Targets: what a predictor must give for the hidden patches of a clip.

A target's settings and what is built from them are two things, as with encoders. What is built
holds no trainable weight: it follows the context encoder, or stands still.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.context_encoding import given, show
from ablate.model.device import on_device
from ablate.model.encoder import Encoded, Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, rows_of
from ablate.model.prediction_query import Question
from ablate.parts import AS_BEFORE

# from a number, (clips, patches, pixels) of some clips and which are real, bool (clips, patches)
Draw = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Goal:
    """What should be predicted for a batch, without a gradient."""

    tokens: Tensor  # float32 (target tokens, dim), in the order of the question's targets
    # float32 (samples, dim): the mean target of each whole clip, if the encoder has a summary
    clips: Tensor | None = None


class Target(nn.Module, ABC):
    """Says what the features of target patches should have been."""

    dim: int  # the width that a predictor must give
    encoder: Encoder | None  # the one that follows the context encoder and is probed

    @abstractmethod
    def prepare(self, draw: Draw, seed: int) -> None:
        """Learns what must be known before training starts, from clips to pre-train on.

        Called once, before the first step. `draw` gives the patches of other clips for each number
        from 0 on, on the device.
        """

    @abstractmethod
    def forward(self, patches: Tensor, question: Question) -> Goal:
        """Takes (clips, patches, pixels) on the device; gives a row per target patch."""

    def flops(self, question: Question) -> int:
        """Counts the floating-point operations of `forward`; none where it only gathers."""
        return 0

    @abstractmethod
    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Moves towards the context encoder, by 1 - `momentum` of the way."""


class AbstractTarget(ABC):
    """The settings of a target; subclasses are frozen keyword-only dataclasses."""

    discrete: ClassVar[bool] = False  # it is one of several clusters, one-hot

    @abstractmethod
    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        """Builds the target beside a context encoder whose weights are set.

        `pixels` is how many values a patch of `grid` holds.
        """


Normalisation = Literal["layer", "standardise", "instance", "instance_then_layer", "none"]


@dataclass(frozen=True, kw_only=True)
class Teacher(AbstractTarget):
    """The features of a target encoder that follows the context encoder by moving average.

    It sees every real patch of a clip (`input: full`), or of each sample the targets alone, as
    in M2D (Niizumi et al., ICASSP 2023, https://arxiv.org/abs/2210.14648). Its features are
    those after its last norm, or the mean of what its last `layers` give before it, after the paper
    of data2vec (Baevski et al., ICML 2022, https://arxiv.org/abs/2202.03555). Unlike the reference
    code of data2vec and EAT, which averages what each layer's perceptron gives, before that is
    added to its input and normed. A momentum of 0 throughout makes it the context encoder itself
    behind a stop-gradient; of 1, the encoder as it was before training.

    `normalise`, in float32 and without weights (`none` leaves features as they are):
    - layer: each token over its dimensions, as in I-JEPA (https://arxiv.org/abs/2301.08243);
    - standardise: the same with the unbiased variance, as in M2D;
    - instance: each dimension over the tokens that the target encoder saw of a sample, layer by
      layer and before their mean, as data2vec norms;
    - instance_then_layer: that, and then `layer`, as in EAT (https://arxiv.org/abs/2401.03497).
    """

    input: Literal["full", "targets"] = field(default="full", metadata={AS_BEFORE: "full"})
    # counted from the last; 1 is what comes after the last norm
    layers: int | Literal["all"] = field(default=1, metadata={AS_BEFORE: 1})
    normalise: Normalisation = field(default="layer", metadata={AS_BEFORE: "layer"})

    def __post_init__(self) -> None:
        if self.layers != "all" and self.layers < 1:
            raise ValueError(f"`layers` must be `all` or at least 1; got {self.layers}")

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return FollowingTarget(self, encoder)


class FollowingTarget(Target):
    """A copy of the context encoder, its moving average."""

    encoder: Encoder

    def __init__(self, settings: Teacher, encoder: Encoder) -> None:
        super().__init__()
        self.settings = settings
        self.dim = encoder.dim
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False)

    def prepare(self, draw: Draw, seed: int) -> None:
        """Needs nothing."""

    @torch.no_grad()
    def forward(self, patches: Tensor, question: Question) -> Goal:
        if self.settings.input == "targets":
            shown = show(self.encoder, patches, question.targets, question)
            tokens = self._features(shown.encoded, shown.packing)
            tokens = shown.part_of(tokens, question.union)
            return Goal(self._normalised(tokens))
        whole = question.whole
        encoded = self.encoder(patches, whole)
        tokens = self._features(encoded, whole)
        rows = rows_of(question.union, question.valid, patches.device, copies=question.copies)
        if encoded.summary is None:
            return Goal(self._normalised(tokens.index_select(0, rows)))
        tokens = self._normalised(tokens)
        clips = segment_means(tokens, whole).repeat_interleave(question.copies, dim=0)
        return Goal(tokens.index_select(0, rows), clips)

    def flops(self, question: Question) -> int:
        if self.settings.input == "full":
            return self.encoder.flops(question.whole)
        return self.encoder.flops(given(self.encoder, question.targets, question))

    def _features(self, encoded: Encoded, packing: Packing) -> Tensor:
        """Averages layers, each normed over the tokens of a sample if so asked."""
        asked = self.settings.layers
        last = encoded.layers if asked == "all" else encoded.layers[-asked:]
        layers = [encoded.tokens] if asked == 1 else last
        if self.settings.normalise.startswith("instance"):
            layers = [instance_norm(layer.float(), packing) for layer in layers]
        return layers[0] if len(layers) == 1 else torch.stack(tuple(layers)).mean(dim=0)

    def _normalised(self, tokens: Tensor) -> Tensor:
        match self.settings.normalise:
            case "layer" | "instance_then_layer":
                return F.layer_norm(tokens.float(), tokens.shape[-1:])
            case "standardise":
                return standardise(tokens.float())
            case _:
                return tokens.float()

    @torch.no_grad()
    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Sets target = momentum * target + (1 - momentum) * encoder.

        Weights are float32 whatever the autocast: at bfloat16, steps of 1e-4 would vanish.
        """
        targets: list[Tensor] = list(self.encoder.parameters())
        sources: list[Tensor] = list(encoder.parameters())
        torch._foreach_lerp_(targets, sources, 1 - momentum)


@dataclass(frozen=True, kw_only=True)
class Pixels(AbstractTarget):
    """The patches themselves: masked reconstruction, as in AudioMAE and Dasheng.

    Huang et al., NeurIPS 2022, https://arxiv.org/abs/2207.06405; Dinkel et al., Interspeech 2024,
    https://arxiv.org/abs/2406.06992.
    """

    normalise: bool = True  # each patch to mean 0 and deviation 1

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return PixelTarget(self, pixels)


class PixelTarget(Target):
    """Gathers patches, (target tokens, pixels)."""

    def __init__(self, settings: Pixels, pixels: int) -> None:
        super().__init__()
        self.normalise = settings.normalise
        self.dim = pixels
        self.encoder = None

    def prepare(self, draw: Draw, seed: int) -> None:
        """Needs nothing."""

    @torch.no_grad()
    def forward(self, patches: Tensor, question: Question) -> Goal:
        pixels = question.targets.gather(patches).float()
        return Goal(standardise(pixels) if self.normalise else pixels)

    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Stands still."""


def standardise(tokens: Tensor) -> Tensor:
    """Gives each row of (tokens, dim) mean 0 and unbiased variance 1; 0 where it is constant."""
    variance, mean = torch.var_mean(tokens, dim=-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-6).sqrt()


def segment_means(tokens: Tensor, packing: Packing) -> Tensor:
    """Averages (tokens, dim) over the tokens of each sample, filler too, to (samples, dim)."""
    lengths = on_device(torch.tensor(packing.segments.lengths, dtype=tokens.dtype), tokens.device)
    sums = tokens.new_zeros(len(lengths), tokens.shape[1]).index_add(0, packing.owner, tokens)
    return sums / lengths.unsqueeze(1)


def instance_norm(tokens: Tensor, packing: Packing) -> Tensor:
    """Gives each dimension of (tokens, dim) mean 0 and variance 1 over a sample's tokens."""
    centred = tokens - segment_means(tokens, packing).index_select(0, packing.owner)
    variance = segment_means(centred.square(), packing)
    return centred * (variance + 1e-5).rsqrt().index_select(0, packing.owner)
