"""Probes of one or two layers, trained by gradient on frozen features."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < 0:
            raise ValueError(f"`hidden` must be 0 or more; got {self.hidden}")

    @property
    def chooses(self) -> bool:
        return self.choice == "valid"

    def predict(self, lesson: Lesson) -> Scores:
        dim = lesson.features.shape[1]
        layers: list[nn.Module] = [nn.LayerNorm(dim)]
        if self.hidden:
            layers += [nn.Linear(dim, self.hidden), nn.GELU()]
        layers.append(nn.Linear(self.hidden or dim, lesson.classes))
        model = nn.Sequential(*layers)
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

    opens_the_test: ClassVar[bool] = True

    def predict(self, lesson: Lesson) -> Scores:
        dim = lesson.features.shape[1]
        model = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, lesson.classes))
        return learn(model, lesson, _rows(lesson), self.schedule, choose=self.chooses)


def _rows(lesson: Lesson) -> Read:
    def read(items: Indices) -> tuple[Tensor, ...]:
        return (torch.from_numpy(lesson.features[items]),)

    return read
