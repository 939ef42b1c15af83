"""What a cell of labels says: one label, several, or events with their times.

    dog                          one of the classes
    dog;rain                     several at once; `-` alone is none of them
    dog@0.5-1.25;rain@0-10       when, in seconds from the clip's start

One cell of a task that holds `;`, `-` alone or times makes it a task of that kind.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["single", "multi", "events"]
NOTHING = "-"
_EVENT = re.compile(r"(.+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Event:
    """A class that sounds from `start` to `stop`, in seconds."""

    name: str
    start: float
    stop: float


def kind_of(labels: Iterable[str]) -> Kind:
    """Tells what kind of task has these cells."""
    labels = set(labels)
    if any(_EVENT.fullmatch(piece) for label in labels for piece in _pieces(label)):
        return "events"
    several = any(";" in label or label == NOTHING for label in labels)
    return "multi" if several else "single"


def classes_in(label: str, kind: Kind) -> tuple[str, ...]:
    """Names the classes in a cell, each once. Raises `ValueError` as `events_in` does."""
    if kind == "single":
        return (label,)
    if kind == "multi":
        return tuple(dict.fromkeys(_pieces(label)))
    return tuple(dict.fromkeys(event.name for event in events_in(label)))


def events_in(label: str) -> tuple[Event, ...]:
    """Reads the events of a clip. Raises `ValueError` for one without times, or that takes none."""
    events = []
    for piece in _pieces(label):
        found = _EVENT.fullmatch(piece)
        if found is None:
            raise ValueError(f"`{piece}` does not say when; write `{piece}@0.5-1.25`, in seconds")
        event = Event(found[1], float(found[2]), float(found[3]))
        if event.stop <= event.start:
            raise ValueError(f"`{piece}` ends before it begins")
        events.append(event)
    return tuple(events)


def _pieces(label: str) -> list[str]:
    pieces = (piece.strip() for piece in label.split(";"))
    return [piece for piece in pieces if piece and piece != NOTHING]
