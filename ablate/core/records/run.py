"""Defines the files of a run folder: configuration, state, environment, heartbeat, code version."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, get_args

from ablate.core.records.record import Item, Record

# names of the files of a run folder
CONFIG_FILE = "config.json"
RECORD_FILE = "run.json"
TRAINING_FILE = "training.json"  # the record as it was when the training ended
ENVIRONMENT_FILE = "env.json"
ENCODER_FILE = "encoder.safetensors"

RunKind = Literal["jepa", "random_init", "mel_statistics"]
RecordedState = Literal[
    "planned", "running", "preempted", "pruned", "done", "failed", "cancelled"
]  # "planned" until `run.json` exists; whether a running run is stale is computed when it is read
FailureKind = Literal["oom", "nan", "collapsed", "timeout", "node", "error"]
FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)

# `done` is never lost: another study may share the run, and scoring it again cannot untrain it
TRANSITIONS: Mapping[RecordedState, frozenset[RecordedState]] = {
    "planned": frozenset({"running", "preempted", "done", "failed", "cancelled"}),
    "running": frozenset({"running", "preempted", "done", "failed", "cancelled"}),
    "preempted": frozenset({"running", "preempted", "pruned", "done", "failed", "cancelled"}),
    "pruned": frozenset({"running", "preempted", "done", "failed", "cancelled"}),
    "failed": frozenset({"running", "preempted", "done", "failed", "cancelled"}),
    "cancelled": frozenset({"running", "preempted", "done", "failed", "cancelled"}),
    "done": frozenset({"running", "done"}),  # it runs again only if its encoder was deleted
}


class TransitionError(ValueError):
    """A run cannot change from its state to the one that was requested."""


@dataclass(frozen=True, kw_only=True)
class _RunFile(Record):
    """A file of a run folder, refused like a run of ablate 0.1 if its format is another."""

    REMEDY: ClassVar[str] = (
        "runs of earlier versions cannot be read: delete the run folder, or set ABLATE_RUNS to a "
        "new folder, and run the study again"
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig(_RunFile):
    """`config.json`: what a run is, with every setting written out."""

    FORMAT: ClassVar[int] = 2
    HAS_CHECKSUM: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run its study again, which writes this file anew"

    kind: RunKind
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Heartbeat(_RunFile):
    """`heartbeat.json`: a counter that rises while a process works on the run."""

    count: int


@dataclass(frozen=True, kw_only=True)
class CodeVersion(Item):
    """The commit of the code that made a run."""

    commit: str | None  # None if the code is not a git checkout
    dirty: bool  # whether the checkout had uncommitted changes
    changes: str | None = None  # digest of those changes


@dataclass(frozen=True, kw_only=True)
class CodeSnapshot(_RunFile):
    """`commit.json`: the version of code that was copied for jobs on a cluster."""

    commit: str | None
    dirty: bool
    diff: str | None  # uncommitted changes


@dataclass(frozen=True, kw_only=True)
class Machine(Item):
    """The machine and command of an attempt."""

    platform: str
    processor: str
    cores: int | None
    argv: list[str]
    cpu: str | None = None  # its name
    driver: str | None = None  # version of the GPU's driver


@dataclass(frozen=True, kw_only=True)
class Environment(_RunFile):
    """`env.json`: where and with what the last attempt that trained was run."""

    FORMAT: ClassVar[int] = 2
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    machine: Machine | None = None
    slurm: dict[str, str] = field(default_factory=dict)  # environment variables SLURM_JOB*
    versions: dict[str, str] = field(default_factory=dict)  # Python and packages, by name
    packages: dict[str, str] = field(default_factory=dict)  # versions of all installed ones
    code_archive: str | None = None  # file with own parts and uncommitted changes, if any


@dataclass(frozen=True, kw_only=True)
class RunCost(Item):
    """Resources that a training used, over all its ranks."""

    steps: int
    clips: int
    audio_hours: float  # without padding
    masks: int
    fallbacks: int  # masks that a guard had to change
    context_tokens: int
    target_tokens: int
    valid_tokens: int
    flops: int
    seconds: float  # wall clock of training, without online probes
    peak_memory_mb: float  # in units of 2**20 bytes


@dataclass(frozen=True, kw_only=True)
class RunMetrics(Item):
    """How a training ended; fractions are means over the whole training."""

    loss: float
    position_loss: float
    effective_rank: float
    effective_rank_init: float
    feature_std: float
    context_fraction: float
    target_fraction: float
    fallback_fraction: float
    tokens_per_second: float
    lidar: float | None = None
    ema_gap: float | None = None  # None if the target encoder is no moving average
    online_score_init: float | None = None  # percent; these three only with an online probe
    online_score: float | None = None
    online_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ParameterCounts(Item):
    """Number of weights of the two networks."""

    encoder: int
    predictor: int


@dataclass(frozen=True, kw_only=True)
class RunRecord(_RunFile):
    """`run.json`: the state of a run and what is known about it.

    The results of a finished training stay in the record when the run is scored again. Without
    the state, the same is kept in `training.json`.
    """

    FORMAT: ClassVar[int] = 2
    HAS_CHECKSUM: ClassVar[bool] = True

    state: RecordedState = "planned"
    reason: str | None = None  # why the run is in this state, for people
    failure: FailureKind | None = None  # only of a failed run
    attempt: int = 0  # the attempt that wrote the record; 0 if none did
    kind: RunKind | None = None
    host: str | None = None
    device: str | None = None
    device_name: str | None = None  # model of the GPU
    code: CodeVersion | None = None
    versions: dict[str, str] = field(default_factory=dict)  # Python and packages, by name
    parts: dict[str, str] = field(default_factory=dict)  # part outside ablate -> digest of its code
    cost: RunCost | None = None
    metrics: RunMetrics | None = None
    collapsed: bool = False
    warnings: list[str] = field(default_factory=list)
    precision: str | None = None
    attention: list[str] = field(default_factory=list)  # kernels that computed attention
    ranks: int | None = None
    parameters: ParameterCounts | None = None

    def with_state(
        self, state: RecordedState, reason: str | None = None, *, attempt: int | None = None
    ) -> Self:
        """Returns the record in another state.

        Raises `TransitionError` if the state machine does not allow the change.
        """
        if state not in TRANSITIONS[self.state]:
            raise TransitionError(f"a run that is {self.state} cannot become {state}")
        return replace(
            self,
            state=state,
            reason=reason,
            failure=get_failure_kind(reason) if state == "failed" else None,
            attempt=self.attempt if attempt is None else attempt,
        )

    def with_end(self, state: RecordedState, reason: str) -> Self:
        """Returns the record in an end state, or with the reason alone if the run is done."""
        return self.with_state("done" if self.state == "done" else state, reason)


def get_failure_kind(reason: str | None) -> FailureKind:
    """Returns the kind with which a reason begins, `nan: ...`; "error" if it begins with none."""
    begin = (reason or "").partition(":")[0]
    return next((kind for kind in FAILURE_KINDS if kind == begin), "error")
