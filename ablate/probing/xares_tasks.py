"""The public tasks of X-ARES: their weights, labels, and the names of their tar files.

Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025.
https://arxiv.org/abs/2505.16369. The table `xares.csv` beside this file was taken from
https://github.com/jimbozhang/xares at 161f0ef (`src/tasks`); its columns from `crop_seconds` on are
of the official protocol. X-ARES states no domain for Vocal Imitations; we use environment, because
environmental sounds are imitated. The five private tasks have no public data and are left out.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

LabelFormat = Literal["one", "several", "events", "notes", "text"]


@dataclass(frozen=True, kw_only=True)
class PublicTask:
    """One public task: a row of the table."""

    name: str  # also the name of its folder
    domain: str  # speech, music or environment
    weight: int  # weight in the official total
    metric: str  # official metric
    shards: Mapping[str, str]  # split or fold -> glob pattern of its tar files
    folded: bool
    label_format: LabelFormat  # one label per clip, several, timed events or notes, or text
    label: str  # key in a clip's JSON
    num_classes: int
    labels: frozenset[str]  # empty if there are too many to list
    crop_seconds: float | None  # clips are cut into pieces of this length
    knn: bool  # whether the total of the kNN scores counts it
    encode_batch: int  # clips that are padded to one length and encoded together
    batch: int  # clips per training step
    epochs: int
    pos_weight: float  # weight of the presence of an event in the loss
    segment_seconds: float  # length of a segment of an event task; 0 for other tasks
    average: str  # macro or micro average of the F1 of events


def _parse_row(row: Mapping[str, str]) -> PublicTask:
    labels = _expand_range(row["labels"]) or row["labels"].split()
    return PublicTask(
        name=row["name"],
        domain=row["domain"],
        weight=int(row["weight"]),
        metric=row["metric"],
        shards=_parse_shards(row),
        folded=bool(row["folds"]),
        label_format=cast(LabelFormat, row["label_format"]),
        label=row["label"],
        num_classes=int(row["classes"] or 0),
        labels=frozenset(labels),
        crop_seconds=float(row["crop_seconds"] or 0) or None,
        knn=row["knn"] == "yes",
        encode_batch=int(row["encode_batch"]),
        batch=int(row["batch"]),
        epochs=int(row["epochs"]),
        pos_weight=float(row["pos_weight"]),
        segment_seconds=float(row["segment_seconds"] or 0),
        average=row["average"],
    )


def _parse_shards(row: Mapping[str, str]) -> dict[str, str]:
    if folds := _expand_range(row["folds"]):
        return {fold: row["train"].format(int(fold)) for fold in folds}
    parts = {part: row[part] for part in ("train", "valid", "test")}
    # three tasks officially select on their test clips; here they have no `valid` part
    return {part: tars for part, tars in parts.items() if part == "test" or tars != row["test"]}


def _expand_range(span: str) -> list[str]:
    """Expands `0-4` to 0, 1, 2, 3, 4; returns an empty list for anything that is not a range."""
    first, dash, last = span.partition("-")
    if not (dash and first.isdigit() and last.isdigit()):
        return []
    return [str(number) for number in range(int(first), int(last) + 1)]


def _load_table() -> tuple[PublicTask, ...]:
    with Path(__file__).with_name("xares.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_parse_row(row) for row in csv.DictReader(file))


TASKS = _load_table()
TASKS_BY_NAME: Mapping[str, PublicTask] = {task.name: task for task in TASKS}
