"""Parses the label cell of a clip: one class, several, events with times, or numbers.

    dog                          a single class
    dog;rain                     several classes; `-` alone means that none applies
    dog@0.5-1.25;rain@0-10       events, in seconds from the clip's start
    valence=0.3;arousal=-0.2     one or several numbers to predict, or `tempo=120.5`

A task is of the kind of its richest cell: one cell with times makes it an event task, one with `;`
or `-` alone a multi-label task. It has numbers if every cell gives numbers.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

LabelKind = Literal["single", "multi", "events", "numbers"]
NO_CLASS = "-"
_EVENT = re.compile(r"(.+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"([^=]+)=([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


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
    >>> infer_label_kind(["tempo=98.5", "tempo=120"])
    'numbers'
    """
    labels = set(labels)
    cells = [split_cell(label) for label in labels]
    if labels and all(map(_has_numbers, labels)):
        return "numbers"
    if any(_EVENT.fullmatch(part) for parts in cells for part in parts):
        return "events"
    is_multi = any(";" in label or label == NO_CLASS for label in labels)
    return "multi" if is_multi else "single"


def parse_classes(label: str, kind: LabelKind) -> tuple[str, ...]:
    """Returns the distinct classes in a cell, or the names of its numbers.

    Raises `ValueError` as `parse_events` and `parse_numbers` do.
    """
    if kind == "single":
        return (label,)
    if kind == "multi":
        return tuple(dict.fromkeys(split_cell(label)))
    if kind == "numbers":
        return tuple(parse_numbers(label))
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


def parse_numbers(label: str) -> dict[str, float]:
    """Parses the numbers in a cell, by name.

    Raises `ValueError` for a name that is given twice and for a number that is too large.

    >>> parse_numbers("valence=0.3;arousal=-0.2")
    {'valence': 0.3, 'arousal': -0.2}
    """
    numbers: dict[str, float] = {}
    for part in split_cell(label):
        match = _NUMBER.fullmatch(part)
        assert match is not None, "every part of a cell of this kind is a number"
        name, number = match[1].strip(), float(match[2])
        if name in numbers:
            raise ValueError(f"`{label}` gives `{name}` twice; keep one of them")
        if not math.isfinite(number):
            raise ValueError(f"`{part}` is too large for a number; use another unit")
        numbers[name] = number
    return numbers


def check_not_numbers(counts: Mapping[str, int]) -> None:
    """Raises `ValueError` if most clips of a task with classes have numbers: one is mistyped.

    Args:
        counts: Number of clips of each cell.
    """
    others = [label for label in counts if not _has_numbers(label)]
    total = sum(counts.values())
    num_numbers = total - sum(counts[label] for label in others)
    if others and 2 * num_numbers > total:
        cell = f"the label `{others[0]}`" if others[0] else "an empty label"
        raise ValueError(
            f"{num_numbers} of {total} clips have numbers, but {cell} is none; give such clips a "
            "number or leave them out; if all are classes, name them without `=`"
        )


def check_same_numbers(labels: Iterable[str]) -> None:
    """Raises `ValueError` if a cell gives other numbers than the first one does."""
    first, *others = labels
    expected = set(parse_numbers(first))
    for label in others:
        if differing := expected ^ set(parse_numbers(label)):
            names = ", ".join(f"`{name}`" for name in sorted(differing))
            raise ValueError(
                f"`{first}` and `{label}` differ in {names}; give every clip the same numbers"
            )


def _has_numbers(label: str) -> bool:
    parts = split_cell(label)
    return bool(parts) and all(map(_NUMBER.fullmatch, parts))


def split_cell(label: str) -> list[str]:
    """Returns the parts of a cell that `;` separates, without `-`."""
    parts = (part.strip() for part in label.split(";"))
    return [part for part in parts if part and part != NO_CLASS]
