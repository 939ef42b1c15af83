"""Probes of one or two layers, trained by gradient on frozen features."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.core.random import generator
from ablate.probing.metrics import Scores
from ablate.probing.probe import Lesson
from ablate.probing.tasks import Indices
from ablate.probing.training import AbstractTrained, Read, learn


@dataclass(frozen=True, kw_only=True)
class Linear(AbstractTrained):
    """A norm and a linear layer, or with `hidden` a layer of so many units between them.

    The epoch is chosen on the validation part (of folds, on the one before that held out; where
    there is none, on a fifth of the known clips); what is examined is looked at once.
    """

    hidden: int = 0  # units; 0 for no such layer
    choice: Literal["valid", "last"] = "valid"  # which epoch: the best on validation, or the last

    # 1: its norm began at 0, its matrices Xavier-uniform; moments were held out, not clips
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 0:
            raise ValueError(f"`hidden` must be 0 or more; got {self.hidden}")

    @property
    def chooses(self) -> bool:
        return self.choice == "valid"

    def predict(self, lesson: Lesson) -> Scores:
        dim = lesson.features.shape[1]
        model = classifier(dim, lesson.classes, lesson.seed, hidden=self.hidden)
        return learn(model, lesson, _rows(lesson), self.schedule, choose=self.chooses)


@dataclass(frozen=True, kw_only=True)
class XaresLinear(AbstractTrained):
    """What X-ARES calls its MLP: a norm and a linear layer, by its schedule and its choice.

    Its numbers are optimistic: of folds, it chooses the epoch on the fold that it reports, and
    so it does where a task has no validation part. `Linear` does not. Of moments it chooses by
    the F1 of moments, not of segments. https://arxiv.org/abs/2505.16369;
    https://github.com/jimbozhang/xares, commit 161f0ef. For some tasks it takes other numbers: a
    `batch` of 64 for Speech Commands, and 3, 5, 20 or 50 `epochs`.
    """

    seeds: int = 1

    version: ClassVar[int] = 2  # 1: its norm began at 0, its matrix Xavier-uniform
    opens_the_test: ClassVar[bool] = True

    def predict(self, lesson: Lesson) -> Scores:
        model = classifier(lesson.features.shape[1], lesson.classes, lesson.seed)
        return learn(model, lesson, _rows(lesson), self.schedule, choose=self.chooses)


def classifier(dim: int, classes: int, seed: int, *, hidden: int = 0) -> nn.Sequential:
    """Builds a norm and linear layers with their first weights: (items, dim) to (items, classes).

    These are drawn as torch draws by default, and so X-ARES, but from `seed`: the norm's are 1
    and 0, and all others uniform within one over the root of a layer's inputs.
    """
    layers: list[nn.Module] = [nn.LayerNorm(dim)]
    if hidden:
        layers += [nn.Linear(dim, hidden), nn.GELU()]
    layers.append(nn.Linear(hidden or dim, classes))
    # Xavier's range, which encoders begin in, is up to 2.4 times as wide, and ten epochs do not
    # unlearn what it drew: on clouds of points that cost 9 to 30 points of accuracy
    with torch.no_grad():
        for place, layer in enumerate(layers):
            if isinstance(layer, nn.Linear):
                rng = generator(seed, "init", f"probe.{place}")
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=rng)
                layer.bias.uniform_(-bound, bound, generator=rng)
    return nn.Sequential(*layers)


def _rows(lesson: Lesson) -> Read:
    def read(items: Indices) -> tuple[Tensor, ...]:
        return (torch.from_numpy(lesson.features[items]),)

    return read
