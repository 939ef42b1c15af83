"""Trains and scores the events of X-ARES (DESED, MAESTRO) as X-ARES does.

https://github.com/jimbozhang/xares, commit 161f0ef (`trainer.py`, `metrics.py`,
`desed_task.py`, `maestro_task.py`). A step uses a batch of whole clips, padded with zeros; the
loss is the mean over all moments, padding included. Segments are the maximum over moments, and a
rest of moments at the end of a batch is dropped.

Unlike there: clips are shuffled over the whole training part, not in buffers of 512.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.probing.probe import Features
from ablate.probing.tasks import Indices, Split, Task
from ablate.probing.training import CosineDecay
from ablate.probing.xares_tasks import PublicTask


@dataclass(frozen=True)
class EventBatches:
    """The moments of clips, and the events in them, in padded batches."""

    features: Features
    task: Task

    def load(self, clips: Indices) -> tuple[Tensor, Tensor]:
        """Loads features (clips, moments, dim) and labels (clips, moments, classes)."""
        counts = self.features.counts[clips]
        rows = torch.zeros(len(clips), int(counts.max()), self.features.rows.shape[1])
        labels = torch.zeros(*rows.shape[:2], len(self.task.classes))
        for place, clip in enumerate(clips):
            own = self.features.rows[self.features.get_rows(np.array([clip]))]
            rows[place, : len(own)] = torch.from_numpy(np.array(own))
            for event in self.task.events[int(clip)]:
                start, stop = (self._count_moments(edge) for edge in (event.start, event.stop))
                labels[place, start:stop, self.task.classes.index(event.name)] = 1
        return rows, labels

    def split(self, clips: Indices, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Loads consecutive batches."""
        for start in range(0, len(clips), batch):
            yield self.load(clips[start : start + batch])

    def _count_moments(self, seconds: float) -> int:
        return math.ceil(seconds / (1000 * self.features.seconds / 1000))


def score_events(
    model: nn.Module,
    batches: EventBatches,
    split: Split,
    listed: PublicTask,
    schedule: CosineDecay,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Trains a model on a split, and returns `segment_f1` of each query part in percent.

    The epoch is selected on the validation clips, or on the test clips if there are none.
    """
    valid = split.valid if len(split.valid) else np.concatenate(list(split.query.values()))
    adam = torch.optim.Adam(model.parameters(), lr=schedule.rate)
    weight = torch.tensor(listed.pos_weight)
    best, best_weights = -math.inf, copy.deepcopy(model.state_dict())
    for epoch in range(schedule.epochs):
        for group in adam.param_groups:
            group["lr"] = schedule.rate_at(epoch)
        order = torch.randperm(len(split.train), generator=generator(seed, "probe order", epoch))
        for rows, labels in batches.split(split.train[order.numpy()], schedule.batch):
            adam.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(rows), labels, pos_weight=weight)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        score = _score(model, batches, valid, listed, schedule.batch)
        if score > best:
            best, best_weights = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return {
        part: {"segment_f1": _score(model, batches, clips, listed, schedule.batch)}
        for part, clips in split.query.items()
    }


@torch.no_grad()
def _score(
    model: nn.Module, batches: EventBatches, clips: Indices, listed: PublicTask, batch: int
) -> float:
    predicted: list[Tensor] = []
    truth: list[Tensor] = []
    seconds = batches.features.seconds
    moments = math.ceil(listed.segment_seconds / (1000 * seconds / 1000))
    for rows, labels in batches.split(clips, batch):
        for values, pieces in (((model(rows) > 0).float(), predicted), (labels, truth)):
            pieces.append(_pool_segments(values, moments))
    return compute_segment_f1(
        torch.cat(predicted), torch.cat(truth), average=listed.average, classes=listed.num_classes
    )


def _pool_segments(values: Tensor, moments: int) -> Tensor:
    """Pools (clips, moments, classes) to (segments, classes); drops a rest of moments."""
    segments = values.shape[1] // moments
    kept = values[:, : segments * moments]
    shape = (len(values) * segments, moments, values.shape[2])
    return kept.reshape(shape).bool().any(dim=1)


def compute_segment_f1(predicted: Tensor, truth: Tensor, *, average: str, classes: int) -> float:
    """Computes the F1 of segments, bool (segments, classes), as a percentage.

    The macro mean is over all `classes` of the benchmark: one that does not occur counts as 0.
    """
    hits = (predicted & truth).sum(dim=0).double()
    counts = (predicted.sum(dim=0) + truth.sum(dim=0)).double()
    if average == "micro":
        return 100 * float(2 * hits.sum() / counts.sum().clamp(min=1))
    return 100 * float((2 * hits / counts.clamp(min=1)).sum()) / classes
