"""Defines the files that a study and its jobs on a cluster exchange."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.record import Item, Record


@dataclass(frozen=True, kw_only=True)
class _JobFile(Record):
    REMEDY: ClassVar[str] = "delete it and run the study again, from the same version of ablate"
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class JobSpec(_JobFile):
    """What the jobs of an array, or a canary job, run and how."""

    probes: str  # path of a file with the settings of the probes, by name
    evaluate: EvaluatePlan | None
    cache: str  # folder of decoded clips
    device: str
    step: list[str]  # command that starts a trial of several ranks; empty for one rank
    max_requeues: int
    signal_seconds: float  # between SLURM's warning and the end of a job
    at_once: int = 1  # runs of a job that run side by side
    packs: list[list[str]] | None = None  # run folders of each job; None for a canary
    canary: list[dict[str, Any]] | None = None  # settings of short trials; None for an array


@dataclass(frozen=True, kw_only=True)
class SubmittedArray(Item):
    """One array of a submission."""

    name: str  # unique name of the job
    packs: list[list[str]]  # run folders of each task
    number: str = ""  # SLURM's number; empty until sbatch has returned it
    canary: str = ""  # folder of the canary on which it depends
    canary_name: str = ""  # unique name of the canary's job


@dataclass(frozen=True, kw_only=True)
class SubmissionFile(_JobFile):
    """`submission.json`: the arrays of a submission, written before they are submitted."""

    REMEDY: ClassVar[str] = "cancel its jobs with scancel, and delete its folder"

    arrays: list[SubmittedArray]


@dataclass(frozen=True, kw_only=True)
class EndMark(_JobFile):
    """`ended/<fingerprint>.json`: a job's statement that it has ended a run."""

    state: Literal["done", "failed"]
    trained: bool = False  # whether that job trained it to its end


@dataclass(frozen=True, kw_only=True)
class CanaryFailure(_JobFile):
    """`failure.json`: why a canary could not be planned, or how the cluster ended it."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class NodeReport(_JobFile):
    """`report.json`: what a job of `ablate doctor` found on its node."""

    host: str
    python: str
    torch: str | None  # version
    gpus: int | None
    attention: tuple[str, ...] = ()  # which attention kernels can serve, for people
    problem: str | None  # why a worker does not start there


@dataclass(frozen=True, kw_only=True)
class CommandJob(_JobFile):
    """`command.json` of one submission: the command that each of its jobs runs."""

    REMEDY: ClassVar[str] = "submit it again"

    command: list[str]  # arguments of python
    max_requeues: int


@dataclass(frozen=True, kw_only=True)
class CommandArray(_JobFile):
    """`array.json` of a study: the array of such jobs that was submitted last."""

    REMEDY: ClassVar[str] = "delete it, once none of these jobs is in the queue"

    number: str  # SLURM's number of the array
    name: str  # name of the job, unique to the submission
    count: int
    logs: str  # folder
