"""The order in which fine-tuning draws clips: epoch after epoch, or balanced by class."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.probing.probe import ProbeData
from ablate.probing.tasks import Indices


def shuffle_clips(data: ProbeData, batch: int, seed: int) -> Iterator[Indices]:
    """Yields batches of items, epoch after epoch without end; an epoch's last may be smaller."""
    train = data.train
    for epoch in itertools.count():
        order = torch.randperm(len(train), generator=generator(seed, "fine-tuning order", epoch))
        for piece in torch.split(order, batch):
            yield train[piece.numpy()]


def draw_balanced_clips(data: ProbeData, batch: int, seed: int) -> Iterator[Indices]:
    """Yields batches of items without end, drawn by `compute_balanced_weights`."""
    weights = compute_balanced_weights(data)
    for step in itertools.count():
        rng = generator(seed, "balanced order", step)
        drawn = torch.multinomial(weights, batch, replacement=True, generator=rng)
        yield data.train[drawn.numpy()]


def compute_balanced_weights(data: ProbeData) -> Tensor:
    """Computes how often to draw each training item, float64 (items,), up to a factor.

    It is the sum of 1 / number of items over the classes of an item. An item without a class has
    the least weight of the others.
    """
    labels = torch.from_numpy(data.labels[data.train])
    holds = (labels if data.is_multilabel else F.one_hot(labels, data.num_classes)).double()
    weights = holds @ (1 / holds.sum(dim=0).clamp(min=1))
    has_class = weights > 0
    least = weights[has_class].min() if has_class.any() else torch.ones((), dtype=torch.double)
    return torch.where(has_class, weights, least)
