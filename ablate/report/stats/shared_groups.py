"""Joins the influences of clips over tasks, so that what occurs in several tasks counts once.

Labels of several tasks for one recording, or tasks with the same speakers, are not independent: an
encoder that fails on a recording may fail in each of its tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TaskInfluences:
    """The influence of each group of clips on the score of one task."""

    task: str
    digest: str  # identifies its clips
    values: Numbers  # (groups,), in points of the score of the task
    names: tuple[str, ...]  # (groups,); empty if each clip is a group without a name


def join_tasks(tasks: Sequence[TaskInfluences]) -> dict[tuple[str, str], Numbers]:
    """Computes the influence of each group on the mean over tasks.

    Args:
        tasks: The influences on each task.

    Returns:
        (tasks, digest of their clips) -> (groups,), in points of the mean. Tasks that share a group
        are one entry, in which each group counts once, with the sum of its influences.
    """
    joined = {}
    for cluster in _find_clusters(tasks):
        name = " + ".join(each.task for each in cluster)
        digest = " + ".join(each.digest for each in cluster)
        values = [each.values / len(tasks) for each in cluster]
        joined[name, digest] = _sum_by_name(cluster, values) if len(cluster) > 1 else values[0]
    return joined


def _find_clusters(tasks: Sequence[TaskInfluences]) -> list[list[TaskInfluences]]:
    """Groups tasks that share a group, directly or through another task."""
    clusters: list[list[TaskInfluences]] = []
    for each in tasks:
        own = {*each.names}
        shared = [c for c in clusters if any(not own.isdisjoint(other.names) for other in c)]
        rest = [c for c in clusters if not any(c is other for other in shared)]
        clusters = [*rest, [other for cluster in shared for other in cluster] + [each]]
    return clusters


def _sum_by_name(cluster: Sequence[TaskInfluences], values: Sequence[Numbers]) -> Numbers:
    names = sorted({name for each in cluster for name in each.names})
    places = {name: place for place, name in enumerate(names)}
    total = np.zeros(len(names))
    for each, own in zip(cluster, values, strict=True):
        total[[places[name] for name in each.names]] += own
    return total
