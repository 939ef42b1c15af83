"""Linear probes, and ones with hidden layers, trained by gradient descent on frozen features."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.audio.annotations import LabelKind
from ablate.core.random import generator
from ablate.parts import AS_BEFORE, replace_settings
from ablate.probing.metrics import Scores
from ablate.probing.probe import CLASSES, NUMBERS, AbstractProbe, Features, ProbeData
from ablate.probing.tasks import Indices, Labels, Split, Task
from ablate.probing.training import AbstractTrainedProbe, ReadItems, train_and_predict
from ablate.probing.xares_events import EventBatches, score_events
from ablate.probing.xares_protocol import XaresProtocol, find_public_task


@dataclass(frozen=True, kw_only=True)
class Linear(AbstractTrainedProbe):
    """A layer norm and a linear layer, optionally with hidden layers between them.

    For tasks of numbers it minimises the mean squared error of the numbers, scaled by their mean
    and deviation over the training items.

    The epoch is selected on the validation part; for folds, on the fold before the held-out one;
    without either, on a fifth of the training clips. The test part is never used for selection.

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
        batch: Items (clips or moments) per step.
        epochs: Passes over the training items.
        seeds: Number of trainings; the score is their mean.
        hidden: Units of a hidden layer; 0 for none.
        choice: Epoch whose weights are used: the best on validation items, or the last.
        hidden_layers: Number of hidden layers, if there are any.
        dropout: Share of inputs of linear layers that are set to 0 in training.
        patience: With `choice: valid`, training ends after this number of epochs without a better
            one; unset, after all epochs.
        weigh_layers: Whether to learn a weight for each layer of the encoder, whose sum is then
            classified (Yang et al., "SUPERB", Interspeech 2021, https://arxiv.org/abs/2105.01051);
            needs `views: {layers: [concat]}`.

    Example:
        probes: {linear: {type: ablate.probing.neural.Linear, epochs: 10}}
    """

    hidden: int = 0
    choice: Literal["valid", "last"] = "valid"
    hidden_layers: int = field(default=1, metadata={AS_BEFORE: 1})
    dropout: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    patience: int | None = field(default=None, metadata={AS_BEFORE: None})
    weigh_layers: bool = field(default=False, metadata={AS_BEFORE: False})

    # version 1: norm started at 0, matrices Xavier-uniform; moments were held out, not clips
    version: ClassVar[int] = 2
    kinds: ClassVar[frozenset[LabelKind]] = CLASSES | NUMBERS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 0:
            raise ValueError(f"`hidden` must be 0 or more; got {self.hidden}")
        if self.hidden_layers < 1 or (self.hidden_layers > 1 and not self.hidden):
            raise ValueError("`hidden_layers` must be 1 or more; several need `hidden` units")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must lie in [0, 1); got {self.dropout}")
        if self.patience is not None and (self.patience < 1 or self.choice == "last"):
            raise ValueError("`patience` must be 1 or more, and needs `choice: valid`")
        if self.weigh_layers and self.views.layers != ("concat",):
            raise ValueError("`weigh_layers` needs `views: {layers: [concat]}`")

    @property
    def needs_validation(self) -> bool:
        return self.choice == "valid"

    def predict(self, data: ProbeData) -> Scores:
        model = self._build(data)
        return train_and_predict(
            model,
            data,
            _row_reader(data),
            self.schedule,
            select=self.needs_validation,
            patience=self.patience,
        )

    def _build(self, data: ProbeData) -> nn.Module:
        dim, weights = data.features.shape[1], None
        if self.weigh_layers and data.layers is not None:  # statistics of log-mels have no layers
            weights = LayerWeights(*data.layers)
            dim //= data.layers[0]
        hidden = (self.hidden,) * (self.hidden_layers if self.hidden else 0)
        head = build_classifier(
            dim, data.num_classes, data.seed, hidden=hidden, dropout=self.dropout
        )
        return head if weights is None else nn.Sequential(weights, head)


class LayerWeights(nn.Module):
    """Sums layers with learnt weights: (items, pieces * layers * width) to (items, pieces * width).

    The weights are a softmax, equal at the start.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))
        self._width = width

    def forward(self, rows: Tensor) -> Tensor:
        pieces = rows.view(len(rows), -1, len(self.logits), self._width)
        return torch.einsum("npld,l->npd", pieces, self.logits.softmax(dim=0)).flatten(1)


class SeededDropout(nn.Module):
    """Dropout whose random numbers depend on a seed alone."""

    def __init__(self, share: float, seed: int, name: str) -> None:
        super().__init__()
        self._share = share
        self._rng = generator(seed, "dropout", name)

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return rows
        kept = torch.rand(rows.shape, generator=self._rng) >= self._share
        return rows * kept / (1 - self._share)


@dataclass(frozen=True, kw_only=True)
class XaresLinear(AbstractTrainedProbe):
    """The probe that X-ARES calls its MLP: a layer norm and a linear layer, trained as there.

    Its numbers are optimistic: for folds, and for tasks without a validation part, it selects the
    epoch on the clips that it reports. `Linear` does not.
    https://arxiv.org/abs/2505.16369; https://github.com/jimbozhang/xares, commit 161f0ef

    With `protocol: whole_clips` it is trained as set here on every task; for events an item is a
    moment, and the epoch is selected by the F1 of moments. With `protocol: official` its numbers
    are those of the benchmark: `batch` and `epochs` are those of each task in X-ARES, clips are cut
    and padded as there (see `ablate.probing.xares_protocol`), events are trained in batches of
    clips and scored as there (see `ablate.probing.xares_events`), and classes that do not occur
    count as 0.

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
        batch: Items (clips or moments) per step.
        epochs: Passes over the training items.
        seeds: Number of trainings; the score is their mean.
        protocol: `whole_clips` or `official`, as described above.

    Example:
        probes: {mlp: {type: ablate.probing.neural.XaresLinear, epochs: 10}}
    """

    seeds: int = 1
    protocol: XaresProtocol = field(default="whole_clips", metadata={AS_BEFORE: "whole_clips"})

    version: ClassVar[int] = 2  # version 1: norm started at 0, matrix Xavier-uniform
    selects_on_test: ClassVar[bool] = True

    @property
    def is_official(self) -> bool:
        return self.protocol == "official"

    def for_task(self, task: str) -> AbstractProbe:
        if not self.is_official:
            return self
        listed = find_public_task(task)
        return replace_settings(self, batch=listed.batch, epochs=listed.epochs)

    def predict(self, data: ProbeData) -> Scores:
        model = build_classifier(data.features.shape[1], data.num_classes, data.seed)
        read, select = _row_reader(data), self.needs_validation
        return train_and_predict(model, data, read, self.schedule, select=select)

    def measure_task(self, task: str, scores: Scores, truth: Labels) -> dict[str, float]:
        metrics = self.measure(scores, truth)
        if self.is_official and "map" in metrics:
            occurring = int(truth.any(axis=0).sum())
            metrics["map"] *= occurring / find_public_task(task).num_classes
        return metrics

    def score_split(
        self, features: Features, task: Task, split: Split, seed: int
    ) -> dict[str, dict[str, float]] | None:
        if not self.is_official or task.kind != "events":
            return None
        model = build_classifier(features.rows.shape[1], len(task.classes), seed)
        batches, listed = EventBatches(features, task), find_public_task(task.name)
        return score_events(model, batches, split, listed, self.schedule, seed)


def build_classifier(
    dim: int, classes: int, seed: int, *, hidden: tuple[int, ...] = (), dropout: float = 0.0
) -> nn.Sequential:
    """Builds a layer norm and linear layers, (items, dim) to (items, classes).

    `hidden` are the units of hidden layers; dropout is applied before each linear layer.

    Initial weights follow torch's defaults, as in X-ARES, but are drawn from `seed`: the norm has
    weights 1 and biases 0; all others are uniform within 1 / sqrt(inputs of the layer).
    """
    layers: list[nn.Module] = [nn.LayerNorm(dim)]
    for units in hidden:
        layers += [nn.Linear(dim, units), nn.GELU()]
        dim = units
    layers.append(nn.Linear(dim, classes))
    # the range of Xavier initialisation, used for encoders, is up to 2.4 times as wide; ten epochs
    # do not undo it: on Gaussian clusters it costs 9 to 30 points of accuracy
    with torch.no_grad():
        for index, layer in enumerate(layers):
            if isinstance(layer, nn.Linear):
                rng = generator(seed, "init", f"probe.{index}")
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=rng)
                layer.bias.uniform_(-bound, bound, generator=rng)
    if dropout:  # after the weights are drawn, whose random numbers are keyed by place
        pairs = (
            (SeededDropout(dropout, seed, str(place)), layer)
            if isinstance(layer, nn.Linear)
            else (layer,)
            for place, layer in enumerate(layers)
        )
        layers = [layer for pair in pairs for layer in pair]
    return nn.Sequential(*layers)


def _row_reader(data: ProbeData) -> ReadItems:
    def read(items: Indices) -> tuple[Tensor, ...]:
        return (torch.from_numpy(data.features[items]),)

    return read
