"""Linear and one-hidden-layer probes, trained by gradient descent on frozen features."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.core.random import generator
from ablate.parts import AS_BEFORE, replace_settings
from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, Features, ProbeData
from ablate.probing.tasks import Indices, Labels, Split, Task
from ablate.probing.training import AbstractTrainedProbe, ReadItems, train_and_predict
from ablate.probing.xares_events import EventBatches, score_events
from ablate.probing.xares_protocol import XaresProtocol, find_public_task


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
        content: Set when a study is planned, not by the user.
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

    def score_events(
        self, features: Features, task: Task, split: Split, seed: int
    ) -> dict[str, dict[str, float]] | None:
        if not self.is_official:
            return None
        model = build_classifier(features.rows.shape[1], len(task.classes), seed)
        batches, listed = EventBatches(features, task), find_public_task(task.name)
        return score_events(model, batches, split, listed, self.schedule, seed)


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
