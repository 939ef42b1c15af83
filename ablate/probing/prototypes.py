"""Prototype probes: a clip is classified by how similar its tokens are to learned prototypes.

Ghaffari et al., "BAT: Better Audio Transformer Guided by Convex Gated Probing", ICML 2026, sec. 4.
https://arxiv.org/abs/2602.16305: tokens of every layer have length 1 and are summed over the layers
with learned weights, a softmax; the least and the greatest cosine of a clip's tokens with each
prototype go to a linear classifier.
Rauch et al., "Unmute the Patch Tokens: Rethinking Probing in Multi-Label Audio Classification",
ICLR 2026. https://arxiv.org/abs/2509.24901: the last layer only, prototypes of -1 and 1.
Unlike both: 256 prototypes by default, where BAT uses 10,000 for AudioSet; no similarity of a
summary token; cosines are multiplied by the square root of the dimension, so that random prototypes
give them deviation 1. With binary prototypes the least cosine is used as well.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.audio.annotations import LabelKind
from ablate.core.random import generator
from ablate.probing.attentive import create_token_reader
from ablate.probing.metrics import Scores
from ablate.probing.probe import CLASSES, NUMBERS, ProbeData
from ablate.probing.training import AbstractTrainedProbe, train_and_predict
from ablate.probing.views import TOKENS, Views


@dataclass(frozen=True, kw_only=True)
class Prototypes(AbstractTrainedProbe):
    """Compares the tokens of a clip with learned prototypes, then classifies linearly.

    With `views: {layers: [concat], poolings: [attentive]}` it weighs all layers (convex gated
    probing); with the last layer and `binary: true` it is the binarised prototypical probe. Tokens
    are read from disk during training. The epoch is selected as in `Linear`.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        rate: Learning rate of Adam at the start.
        batch: Clips per step.
        epochs: Passes over the training clips.
        seeds: Number of trainings; the score is their mean.
        num_prototypes: Number of prototypes.
        binary: Whether prototypes consist of -1 and 1; gradients pass the sign unchanged.
        choice: Epoch whose weights are used: the best on validation items, or the last.

    Example:
        probes: {gated: {type: ablate.probing.prototypes.Prototypes, num_prototypes: 512,
          views: {layers: [concat], poolings: [attentive]}}}
    """

    kinds: ClassVar[frozenset[LabelKind]] = CLASSES | NUMBERS
    reads_tokens: ClassVar[bool] = True

    views: Views = field(default_factory=lambda: Views(poolings=(TOKENS,)))
    num_prototypes: int = 256
    binary: bool = False
    choice: Literal["valid", "last"] = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_prototypes < 1:
            raise ValueError(f"`num_prototypes` must be 1 or more; got {self.num_prototypes}")

    @property
    def needs_validation(self) -> bool:
        return self.choice == "valid"

    def predict(self, data: ProbeData) -> Scores:
        model = PrototypePooling(
            data.layers or (1, data.features.shape[1]),
            self.num_prototypes,
            data.num_classes,
            binary=self.binary,
            seed=data.seed,
        )
        read, select = create_token_reader(data), self.needs_validation
        return train_and_predict(model, data, read, self.schedule, select=select)


class PrototypePooling(nn.Module):
    """Weighs layers, compares tokens with prototypes, and classifies linearly.

    Maps tokens (items, tokens, layers * width) and `real` (items, tokens), False for padding, to
    logits (items, classes). Every item must have a real token.

    Args:
        layers: Number and width of the layers.
        prototypes: Number of prototypes.
        classes: Number of classes.
        binary: Whether prototypes consist of -1 and 1.
        seed: Seed of the initial weights.
    """

    def __init__(
        self, layers: tuple[int, int], prototypes: int, classes: int, *, binary: bool, seed: int
    ) -> None:
        super().__init__()
        self._layers, self._width = layers
        self._binary = binary
        self.gate = nn.Parameter(torch.zeros(self._layers))
        rng = generator(seed, "init", "prototypes")
        self.prototypes = nn.Parameter(torch.randn(prototypes, self._width, generator=rng))
        self.classify = nn.Linear(2 * prototypes, classes)
        bound = 1 / math.sqrt(2 * prototypes)
        with torch.no_grad():
            self.classify.weight.uniform_(-bound, bound, generator=rng)
            self.classify.bias.zero_()

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        units = F.normalize(tokens.view(*tokens.shape[:2], self._layers, self._width), dim=3)
        mixed = torch.einsum("itld,l->itd", units, self.gate.softmax(dim=0))
        cosines = mixed @ F.normalize(self._get_prototypes(), dim=1).T * math.sqrt(self._width)
        padding = ~real.unsqueeze(2)
        least = cosines.masked_fill(padding, torch.inf).amin(dim=1)
        greatest = cosines.masked_fill(padding, -torch.inf).amax(dim=1)
        logits: Tensor = self.classify(torch.cat([least, greatest], dim=1))
        return logits

    def _get_prototypes(self) -> Tensor:
        if not self._binary:
            return self.prototypes
        signs = torch.where(self.prototypes < 0, -1.0, 1.0)
        return self.prototypes + (signs - self.prototypes).detach()
