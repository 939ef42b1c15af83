"""How probes with weights learn: Adam by epochs, and the epoch that is best on held-out items.

What a probe is asked is looked at once, after the epoch is chosen.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.probing.metrics import Scores, measure
from ablate.probing.probe import AbstractProbe, Lesson
from ablate.probing.tasks import Indices

HELD_OUT = 0.2  # of the known clips, to choose by where a task has no validation part

Read = Callable[[Indices], tuple[Tensor, ...]]  # some items as a model takes them


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Adam's rate falls by half a cosine, epoch by epoch, towards a share of what it was.

    So do the probes of X-ARES. Raises `ValueError` for a number that is not above 0.
    """

    rate: float
    batch: int  # items
    epochs: int
    floor: float = 0.1  # of the rate

    def __post_init__(self) -> None:
        for name in ("rate", "batch", "epochs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be above 0; got {getattr(self, name)}")

    def at(self, epoch: int) -> float:
        """Returns the rate of an epoch, counted from 0."""
        share = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.rate * (self.floor + (1 - self.floor) * share)


@dataclass(frozen=True, kw_only=True)
class AbstractTrained(AbstractProbe):
    """A probe with weights: it learns once by each of its seeds, and its score is their mean."""

    rate: float = 1e-3  # Adam's, at first
    batch: int = 32  # items: clips, or moments
    epochs: int = 10
    # All its chance comes from these alone, not also from the run's seed as in fine-tuning: another
    # key would put every saved score out of use, and their mean evens out most of its luck.
    seeds: int = 3

    standardises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1:
            raise ValueError(f"`seeds` must be at least 1; got {self.seeds}")
        _ = self.schedule  # which refuses what cannot be

    @property
    def num_seeds(self) -> int:
        """As many as `seeds` says."""
        return self.seeds

    @property
    def chooses(self) -> bool:
        """It chooses an epoch."""
        return True

    @property
    def schedule(self) -> Schedule:
        """How its rate falls. Raises `ValueError` as `Schedule` does."""
        return Schedule(rate=self.rate, batch=self.batch, epochs=self.epochs)


def learn(
    model: nn.Module, lesson: Lesson, read: Read, schedule: Schedule, *, choose: bool
) -> Scores:
    """Trains a model on what is known; returns probabilities of what is asked, (asked, classes).

    It starts with the weights that it comes with. With `choose` it ends with those of the first
    epoch that is best on `lesson.valid`, or, where that is empty, on a part of the known clips,
    which is then not learnt from. Raises `ValueError` where that would leave nothing to learn from.
    """
    known, valid = _held_out(lesson) if choose else (lesson.known, lesson.known[:0])
    adam = torch.optim.Adam(model.parameters(), lr=schedule.rate)
    best, kept = -math.inf, copy.deepcopy(model.state_dict())
    for epoch in range(schedule.epochs):
        for group in adam.param_groups:
            group["lr"] = schedule.at(epoch)
        model.train()
        for items in _shuffled(known, schedule.batch, lesson.seed, epoch):
            adam.zero_grad()
            _loss(model(*read(items)), lesson, items).backward()  # type: ignore[no-untyped-call]
            adam.step()
        if not choose:
            continue
        found = measure(_scores(model, lesson, read, valid), lesson.labels[valid])
        if found[lesson.choose_by] > best:
            best, kept = found[lesson.choose_by], copy.deepcopy(model.state_dict())
    if choose:
        model.load_state_dict(kept)
    return _scores(model, lesson, read, lesson.asked)


def _held_out(lesson: Lesson) -> tuple[Indices, Indices]:
    if len(lesson.valid):
        return lesson.known, lesson.valid
    # whole clips: what is learnt of some moments of one is known of its others, too
    owners = lesson.known if lesson.owners is None else lesson.owners[lesson.known]
    found, counts = np.unique(owners, return_counts=True)
    if len(found) < 2:
        raise ValueError(
            f"{len(found)} training clips are too few to learn from and to select by; give "
            "the task more training clips or a validation part, or the probe `choice: last`"
        )
    clips = np.split(lesson.known[np.argsort(owners, kind="stable")], np.cumsum(counts)[:-1])
    order = torch.randperm(len(clips), generator=generator(lesson.seed, "held out")).tolist()
    count = max(1, round(HELD_OUT * len(clips)))
    held, learnt = ([clips[place] for place in some] for some in (order[:count], order[count:]))
    return np.concatenate(learnt), np.concatenate(held)


def _shuffled(known: Indices, batch: int, seed: int, epoch: int) -> Iterator[Indices]:
    order = torch.randperm(len(known), generator=generator(seed, "probe order", epoch))
    for piece in torch.split(order, batch):
        yield known[piece.numpy()]


def _loss(given: Tensor, lesson: Lesson, items: Indices) -> Tensor:
    labels = torch.from_numpy(lesson.labels[items])
    if lesson.several:
        return F.binary_cross_entropy_with_logits(given, labels.float())
    return F.cross_entropy(given, labels)


@torch.no_grad()
def _scores(model: nn.Module, lesson: Lesson, read: Read, items: Indices) -> Scores:
    model.eval()
    pieces = [items[start : start + 256] for start in range(0, len(items), 256)]
    given = torch.cat([model(*read(piece)) for piece in pieces])
    scores: Scores = (given.sigmoid() if lesson.several else given.softmax(dim=1)).numpy()
    return scores
