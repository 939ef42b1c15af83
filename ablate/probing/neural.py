"""Linear and one-hidden-layer probes, trained by gradient descent on frozen features."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.core.random import generator
from ablate.probing.metrics import Scores
from ablate.probing.probe import ProbeData
from ablate.probing.tasks import Indices
from ablate.probing.training import AbstractTrainedProbe, ReadItems, train_and_predict


@dataclass(frozen=True, kw_only=True)
class Linear(AbstractTrainedProbe):
    """A layer norm and a linear layer, optionally with a hidden layer between them.

    The epoch is selected on the validation part; for folds, on the fold before the held-out one;
    without either, on a fifth of the training clips. The test part is never used for selection.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        content: Set when a study is planned, not by the user.
        rate: Learning rate of Adam at the start.
        batch: Items (clips or moments) per step.
        epochs: Passes over the training items.
        seeds: Number of trainings; the score is their mean.
        hidden: Units of the hidden layer; 0 for none.
        choice: Epoch whose weights are used: the best on validation items, or the last.

    Example:
        probes: {linear: {type: ablate.probing.neural.Linear, epochs: 10}}
    """

    hidden: int = 0
    choice: Literal["valid", "last"] = "valid"

    # version 1: norm started at 0, matrices Xavier-uniform; moments were held out, not clips
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 0:
            raise ValueError(f"`hidden` must be 0 or more; got {self.hidden}")

    @property
    def needs_validation(self) -> bool:
        return self.choice == "valid"

    def predict(self, data: ProbeData) -> Scores:
        dim = data.features.shape[1]
        model = build_classifier(dim, data.num_classes, data.seed, hidden=self.hidden)
        read, select = _row_reader(data), self.needs_validation
        return train_and_predict(model, data, read, self.schedule, select=select)


@dataclass(frozen=True, kw_only=True)
class XaresLinear(AbstractTrainedProbe):
    """The probe that X-ARES calls its MLP: a layer norm and a linear layer, trained as there.

    Its numbers are optimistic: for folds, and for tasks without a validation part, it selects the
    epoch on the clips that it reports. `Linear` does not. For events it selects by the F1 of
    moments, not of segments. X-ARES uses other settings for some tasks: a `batch` of 64 for Speech
    Commands, and 3, 5, 20 or 50 `epochs`.
    https://arxiv.org/abs/2505.16369; https://github.com/jimbozhang/xares, commit 161f0ef

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        content: Set when a study is planned, not by the user.
        rate: Learning rate of Adam at the start.
        batch: Items (clips or moments) per step.
        epochs: Passes over the training items.
        seeds: Number of trainings; the score is their mean.

    Example:
        probes: {mlp: {type: ablate.probing.neural.XaresLinear, epochs: 10}}
    """

    seeds: int = 1

    version: ClassVar[int] = 2  # version 1: norm started at 0, matrix Xavier-uniform
    selects_on_test: ClassVar[bool] = True

    def predict(self, data: ProbeData) -> Scores:
        model = build_classifier(data.features.shape[1], data.num_classes, data.seed)
        read, select = _row_reader(data), self.needs_validation
        return train_and_predict(model, data, read, self.schedule, select=select)


def build_classifier(dim: int, classes: int, seed: int, *, hidden: int = 0) -> nn.Sequential:
    """Builds a layer norm and linear layers, (items, dim) to (items, classes).

    Initial weights follow torch's defaults, as in X-ARES, but are drawn from `seed`: the norm has
    weights 1 and biases 0; all others are uniform within 1 / sqrt(inputs of the layer).
    """
    layers: list[nn.Module] = [nn.LayerNorm(dim)]
    if hidden:
        layers += [nn.Linear(dim, hidden), nn.GELU()]
    layers.append(nn.Linear(hidden or dim, classes))
    # the range of Xavier initialisation, used for encoders, is up to 2.4 times as wide; ten epochs
    # do not undo it: on Gaussian clusters it costs 9 to 30 points of accuracy
    with torch.no_grad():
        for index, layer in enumerate(layers):
            if isinstance(layer, nn.Linear):
                rng = generator(seed, "init", f"probe.{index}")
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=rng)
                layer.bias.uniform_(-bound, bound, generator=rng)
    return nn.Sequential(*layers)


def _row_reader(data: ProbeData) -> ReadItems:
    def read(items: Indices) -> tuple[Tensor, ...]:
        return (torch.from_numpy(data.features[items]),)

    return read
