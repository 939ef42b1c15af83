"""Training of probes with weights: Adam, and selection of the epoch on held-out items.

Query items are predicted once, after the epoch is selected.
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
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.tasks import Indices, Labels

HELD_OUT = 0.2  # share of the training clips to select on, for tasks without a validation part

ReadItems = Callable[[Indices], tuple[Tensor, ...]]  # returns the model's inputs for some items


@dataclass(frozen=True, kw_only=True)
class CosineDecay:
    """A learning rate that falls per epoch along half a cosine to a share of its start.

    The probes of X-ARES use it. Raises `ValueError` if a number is not above 0.
    """

    rate: float
    batch: int  # items per step
    epochs: int
    floor: float = 0.1  # final rate as a share of the first

    def __post_init__(self) -> None:
        for name in ("rate", "batch", "epochs"):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be above 0; got {getattr(self, name)}")

    def rate_at(self, epoch: int) -> float:
        """Computes the rate of an epoch, counted from 0."""
        share = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.rate * (self.floor + (1 - self.floor) * share)


@dataclass(frozen=True, kw_only=True)
class AbstractTrainedProbe(AbstractProbe):
    """A probe with weights. It is trained once per seed, and its score is the mean over seeds."""

    rate: float = 1e-3  # initial learning rate of Adam
    batch: int = 32  # items (clips or moments) per step
    epochs: int = 10
    # Its random numbers depend only on these seeds, not on the run's seed as in fine-tuning. Adding
    # that seed would invalidate all saved scores, and the mean over seeds averages most of it out.
    seeds: int = 3

    standardises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1:
            raise ValueError(f"`seeds` must be at least 1; got {self.seeds}")
        _ = self.schedule  # checks the other settings

    @property
    def num_seeds(self) -> int:
        """The setting `seeds`."""
        return self.seeds

    @property
    def needs_validation(self) -> bool:
        """True: the epoch is selected on held-out items."""
        return True

    @property
    def schedule(self) -> CosineDecay:
        """The schedule of its learning rate. Raises `ValueError` for invalid settings."""
        return CosineDecay(rate=self.rate, batch=self.batch, epochs=self.epochs)


def train_and_predict(
    model: nn.Module,
    data: ProbeData,
    read: ReadItems,
    schedule: CosineDecay,
    *,
    select: bool,
    patience: int | None = None,
) -> Scores:
    """Trains a model on `data.train`, starting from its current weights, and predicts `data.query`.

    Args:
        model: Maps the inputs of some items to logits (items, classes).
        data: Features, labels and indices.
        read: Returns the inputs of some items.
        schedule: Learning rate, batch size and epochs.
        select: Whether to use the weights of the first epoch that is best on `data.valid`. If that
            is empty, a share of the training clips is held out of training instead.
        patience: With `select`, ends after this number of epochs without a better one.

    Returns:
        Probabilities, float32 (query items, classes); or numbers, for a task of numbers.

    Raises:
        ValueError: There are too few training clips to hold any out.
    """
    train, valid = hold_out(data) if select else (data.train, data.train[:0])
    scale = NumberScale.fit(data.labels[train]) if data.has_numbers else None
    adam = torch.optim.Adam(model.parameters(), lr=schedule.rate)
    best, best_weights = -math.inf, copy.deepcopy(model.state_dict())
    best_epoch = 0
    for epoch in range(schedule.epochs):
        for group in adam.param_groups:
            group["lr"] = schedule.rate_at(epoch)
        model.train()
        for items in _shuffle(train, schedule.batch, data.seed, epoch):
            adam.zero_grad()
            loss = _compute_loss(model(*read(items)), data, items, scale)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        if not select:
            continue
        metrics = measure(_predict(model, data, read, valid, scale), data.labels[valid])
        if metrics[data.selection_metric] > best:
            best, best_weights = metrics[data.selection_metric], copy.deepcopy(model.state_dict())
            best_epoch = epoch
        elif patience is not None and epoch - best_epoch >= patience:
            break
    if select:
        model.load_state_dict(best_weights)
    return _predict(model, data, read, data.query, scale)


@dataclass(frozen=True)
class NumberScale:
    """Mean and deviation of numbers over training items, (names of numbers,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, labels: Labels) -> "NumberScale":
        """Measures labels, (items, names of numbers); a constant number has deviation 1."""
        values = torch.from_numpy(labels).double()
        std = values.std(dim=0, correction=0)
        return cls(values.mean(dim=0).float(), torch.where(std > 0, std, 1.0).float())

    def normalise(self, labels: Tensor) -> Tensor:
        """Scales numbers to mean 0 and deviation 1."""
        return (labels - self.mean) / self.std

    def restore(self, values: Tensor) -> Tensor:
        """Does the inverse of `normalise`."""
        return values * self.std + self.mean


def hold_out(data: ProbeData) -> tuple[Indices, Indices]:
    """Returns the items to train on and the items to select by.

    Raises `ValueError` if there are too few training clips to hold any out.
    """
    if len(data.valid):
        return data.train, data.valid
    # whole clips are held out, because the moments of one clip resemble each other
    owners = data.train if data.owners is None else data.owners[data.train]
    unique, counts = np.unique(owners, return_counts=True)
    if len(unique) < 2:
        raise ValueError(
            f"{len(unique)} training clips are too few to train and to select on; give the task "
            "more training clips or a validation part, or the probe `choice: last`"
        )
    clips = np.split(data.train[np.argsort(owners, kind="stable")], np.cumsum(counts)[:-1])
    order = torch.randperm(len(clips), generator=generator(data.seed, "held out")).tolist()
    count = max(1, round(HELD_OUT * len(clips)))
    valid, train = ([clips[index] for index in part] for part in (order[:count], order[count:]))
    return np.concatenate(train), np.concatenate(valid)


def _shuffle(train: Indices, batch: int, seed: int, epoch: int) -> Iterator[Indices]:
    order = torch.randperm(len(train), generator=generator(seed, "probe order", epoch))
    for piece in torch.split(order, batch):
        yield train[piece.numpy()]


def _compute_loss(
    logits: Tensor, data: ProbeData, items: Indices, scale: NumberScale | None
) -> Tensor:
    labels = torch.from_numpy(data.labels[items])
    if scale is not None:
        return F.mse_loss(logits, scale.normalise(labels))
    if data.is_multilabel:
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels)


@torch.no_grad()
def _predict(
    model: nn.Module, data: ProbeData, read: ReadItems, items: Indices, scale: NumberScale | None
) -> Scores:
    model.eval()
    pieces = [items[start : start + 256] for start in range(0, len(items), 256)]
    logits = torch.cat([model(*read(piece)) for piece in pieces])
    if scale is not None:
        numbers: Scores = scale.restore(logits).numpy()
        return numbers
    scores: Scores = (logits.sigmoid() if data.is_multilabel else logits.softmax(dim=1)).numpy()
    return scores
