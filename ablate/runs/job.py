"""Defines what an executor runs, how it ended, and who is notified of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ablate.core.records.messages import ProgressMessage
from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.run import RunConfig


@dataclass(frozen=True)
class RunJob:
    """A run folder in which something is missing."""

    folder: Path
    title: str  # for people
    probes: Mapping[str, Any]
    until: int | None = None  # step at which to pause and to score
    levels: Mapping[str, str] = field(default_factory=dict)  # factor -> label; may need resources
    evaluate: EvaluatePlan | None = None  # how the encoder is scored during training
    config: RunConfig | None = None  # content of `config.json`; it may not be written yet


@dataclass(frozen=True)
class RunOutcome:
    """How a job ended."""

    job: RunJob
    state: Literal["done", "failed", "preempted", "paused", "cancelled"]
    reason: str | None = None
    trained: bool = False  # by this job, not by an earlier session
    probed: tuple[str, ...] = ()  # names of the probes that were scored
    seconds: float = 0.0  # duration of the request; on a cluster, of the training
    died: bool = False  # the worker's process ended; another worker may resume the run


class ProgressListener(Protocol):
    """Is notified of the progress of jobs, in the thread that runs the executor."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        """Handles the progress of a worker's job."""
        ...

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        """Handles the end of a worker's job."""
        ...
