"""Probes of one or two layers, trained by gradient on frozen features."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, Lesson
from ablate.probing.tasks import Indices
from ablate.probing.training import Read, Schedule, learn


@dataclass(frozen=True, kw_only=True)
class Linear(AbstractProbe):
    """A norm and a linear layer, or with `hidden` a layer of so many units between them.

    The epoch is chosen on the validation part (of folds, on the one before that held out; where
    there is none, on a fifth of the known clips); what is examined is looked at once.
    """

    rate: float = 1e-3  # Adam's, at first
    batch: int = 32  # items: clips, or moments
    epochs: int = 10
    hidden: int = 0  # units; 0 for no such layer
    choice: Literal["valid", "last"] = "valid"  # which epoch: the best on validation, or the last
    seeds: int = 3  # it learns once by each; its score is their mean

    standardises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_seeds(self.seeds)
        if self.hidden < 0:
            raise ValueError(f"`hidden` must be 0 or more; got {self.hidden}")
        Schedule(rate=self.rate, batch=self.batch, epochs=self.epochs)

    @property
    def num_seeds(self) -> int:
        return self.seeds

    @property
    def chooses(self) -> bool:
        return self.choice == "valid"

    def predict(self, lesson: Lesson) -> Scores:
        dim = lesson.features.shape[1]
        layers: list[nn.Module] = [nn.LayerNorm(dim)]
        if self.hidden:
            layers += [nn.Linear(dim, self.hidden), nn.GELU()]
        layers.append(nn.Linear(self.hidden or dim, lesson.classes))
        schedule = Schedule(rate=self.rate, batch=self.batch, epochs=self.epochs)
        return learn(nn.Sequential(*layers), lesson, _rows(lesson), schedule, choose=self.chooses)


@dataclass(frozen=True, kw_only=True)
class XaresLinear(AbstractProbe):
    """What X-ARES calls its MLP: a norm and a linear layer, by its schedule and its choice.

    Its numbers are optimistic: of folds, it chooses the epoch on the fold that it reports, and
    so it does where a task has no validation part. `Linear` does not. Of moments it chooses by
    the F1 of moments, not of segments. https://arxiv.org/abs/2505.16369;
    https://github.com/jimbozhang/xares, commit 161f0ef.
    """

    rate: float = 1e-3  # Adam's, at first
    batch: int = 32  # X-ARES takes 64 for Speech Commands
    epochs: int = 10  # X-ARES takes 3, 5, 20 or 50 for some tasks
    seeds: int = 1

    standardises: ClassVar[bool] = False
    opens_the_test: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_seeds(self.seeds)
        Schedule(rate=self.rate, batch=self.batch, epochs=self.epochs)

    @property
    def num_seeds(self) -> int:
        return self.seeds

    @property
    def chooses(self) -> bool:
        return True

    def predict(self, lesson: Lesson) -> Scores:
        dim = lesson.features.shape[1]
        model = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, lesson.classes))
        schedule = Schedule(rate=self.rate, batch=self.batch, epochs=self.epochs)
        return learn(model, lesson, _rows(lesson), schedule, choose=True)


def _rows(lesson: Lesson) -> Read:
    def read(items: Indices) -> tuple[Tensor, ...]:
        return (torch.from_numpy(lesson.features[items]),)

    return read


def _check_seeds(seeds: int) -> None:
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1; got {seeds}")
