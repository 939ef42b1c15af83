"""The public tasks of X-ARES: what they weigh, what is told apart, and how their tars are named.

Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025.
https://arxiv.org/abs/2505.16369. The table beside this file, `xares.csv`, holds facts from
https://github.com/jimbozhang/xares at 161f0ef; `crop_seconds` and `knn` are of the official
protocol. Its README gives Vocal Imitations no domain: what is imitated there are sounds. The five
private tasks have no public data, and no row.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

Told = Literal["one", "several", "events", "notes", "text"]


@dataclass(frozen=True, kw_only=True)
class PublicTask:
    """One row of the table."""

    name: str  # of its folder
    domain: str  # speech, music or environment
    weight: int  # in the official total
    metric: str  # the official one
    shards: Mapping[str, str]  # split, or fold -> pattern of its tars
    folded: bool
    told: Told  # of a clip: one label, several, or what happens when
    label: str  # the key in a clip's JSON
    num_classes: int
    labels: frozenset[str]  # where they are few enough to be listed


def facts_of(name: str) -> dict[str, str | int]:
    """Returns what X-ARES's totals need to know of a task; nothing of one that is not its own."""
    task = BY_NAME.get(name)
    return {"domain": task.domain, "weight": task.weight} if task else {}


def _task(row: Mapping[str, str]) -> PublicTask:
    labels = _numbers(row["labels"]) or row["labels"].split()
    return PublicTask(
        name=row["name"],
        domain=row["domain"],
        weight=int(row["weight"]),
        metric=row["metric"],
        shards=_shards(row),
        folded=bool(row["folds"]),
        told=cast(Told, row["told"]),
        label=row["label"],
        num_classes=int(row["classes"] or 0),
        labels=frozenset(labels),
    )


def _shards(row: Mapping[str, str]) -> dict[str, str]:
    if folds := _numbers(row["folds"]):
        return {fold: row["train"].format(int(fold)) for fold in folds}
    parts = {part: row[part] for part in ("train", "valid", "test")}
    # three tasks officially choose by the clips that they are tested on: here they have no `valid`
    return {part: tars for part, tars in parts.items() if part == "test" or tars != row["test"]}


def _numbers(span: str) -> list[str]:
    """Lists `0-4` as 0, 1, 2, 3, 4; what is no span gives nothing."""
    first, dash, last = span.partition("-")
    if not (dash and first.isdigit() and last.isdigit()):
        return []
    return [str(number) for number in range(int(first), int(last) + 1)]


def _table() -> tuple[PublicTask, ...]:
    with Path(__file__).with_name("xares.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_task(row) for row in csv.DictReader(file))


TASKS = _table()
BY_NAME: Mapping[str, PublicTask] = {task.name: task for task in TASKS}
