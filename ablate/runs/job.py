"""What a launcher is handed and what it tells: jobs, how they ended, and who watches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ablate.core.records.plan import EvaluatePlan

Event = dict[str, Any]  # one line of a worker's answer


@dataclass(frozen=True)
class RunJob:
    """A run folder that lacks something."""

    folder: Path
    title: str  # for people
    probes: Mapping[str, Any]
    until: int | None = None  # a step to pause at, and to be scored at
    levels: Mapping[str, str] = field(default_factory=dict)  # factor -> label: may ask for more
    evaluate: EvaluatePlan | None = None  # how the encoder is scored while it is trained


@dataclass(frozen=True)
class RunOutcome:
    """How a job ended."""

    job: RunJob
    state: Literal["done", "failed", "preempted", "paused", "cancelled"]
    reason: str | None = None
    trained: bool = False  # now, and not by an earlier session
    probed: tuple[str, ...] = ()  # names of the probes that were run
    seconds: float = 0.0  # from the request to its answer; on a cluster, of the training
    died: bool = False  # its worker did: with another, it may still come to its end


class ProgressListener(Protocol):
    """Is told what the pool is doing, in the thread that called `Pool.run`."""

    def progress(self, worker: int, job: RunJob, event: Event) -> None:
        """Hears how far a worker has come: an event may hold `label`, `done` and `total`."""
        ...

    def finished(self, worker: int, outcome: RunOutcome) -> None:
        """Hears that a worker's job has ended."""
        ...
