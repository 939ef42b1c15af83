"""Parses the label cell of a clip: one class, several classes, or events with times.

    dog                          a single class
    dog;rain                     several classes; `-` alone means that none applies
    dog@0.5-1.25;rain@0-10       events, in seconds from the clip's start

A task is of the kind of its richest cell: one cell with times makes it an event task, one with `;`
or `-` alone a multi-label task.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

LabelKind = Literal["single", "multi", "events"]
NO_CLASS = "-"
_EVENT = re.compile(r"(.+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Event:
    """A class that is audible from `start` to `stop`, in seconds from the clip's start."""

    name: str
    start: float
    stop: float


def infer_label_kind(labels: Iterable[str]) -> LabelKind:
    """Infers the kind of a task from all its label cells.

    >>> infer_label_kind(["dog", "cat;dog"])
    'multi'
    """
    labels = set(labels)
    if any(_EVENT.fullmatch(part) for label in labels for part in split_cell(label)):
        return "events"
    is_multi = any(";" in label or label == NO_CLASS for label in labels)
    return "multi" if is_multi else "single"


def parse_classes(label: str, kind: LabelKind) -> tuple[str, ...]:
    """Returns the distinct classes in a cell. Raises `ValueError` as `parse_events` does."""
    if kind == "single":
        return (label,)
    if kind == "multi":
        return tuple(dict.fromkeys(split_cell(label)))
    return tuple(dict.fromkeys(event.name for event in parse_events(label)))


def parse_events(label: str) -> tuple[Event, ...]:
    """Parses the events in a cell.

    Raises `ValueError` for an event without times, or with an end that is not after its start.
    """
    events = []
    for part in split_cell(label):
        match = _EVENT.fullmatch(part)
        if match is None:
            raise ValueError(f"`{part}` has no times; write `{part}@0.5-1.25`, in seconds")
        event = Event(match[1], float(match[2]), float(match[3]))
        if event.stop <= event.start:
            raise ValueError(f"`{part}` must end after its start")
        events.append(event)
    return tuple(events)


def split_cell(label: str) -> list[str]:
    """Returns the parts of a cell that `;` separates, without `-`."""
    parts = (part.strip() for part in label.split(";"))
    return [part for part in parts if part and part != NO_CLASS]
