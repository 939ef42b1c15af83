"""Defines every request that a worker serves, with its reply, and the progress it reports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ablate.core.records.benchmarks import (
    LoaderTimingsReply,
    LoaderTimingsRequest,
    MaskerTimingsReply,
    MaskerTimingsRequest,
    NamedMasker,
    PeerTimingsReply,
    PeerTimingsRequest,
    StepTimingsReply,
    StepTimingsRequest,
)
from ablate.core.records.decoding_requests import DecodeReply, DecodeRequest
from ablate.core.records.plan import EvaluatePlan, MaskPicture
from ablate.core.records.planning import PlanReply, PlanRequest, SettingProblem
from ablate.core.records.protocol import Message, Reply, Request
from ablate.core.records.record import Item

Settings = dict[str, Any]  # settings of a trial, a part or a probe


@dataclass(frozen=True, kw_only=True)
class ReadyMessage(Message):
    """The first line of a worker: it has started."""

    torch: str  # version
    gpus: int


@dataclass(frozen=True, kw_only=True)
class ProgressMessage(Message):
    """Progress of a request."""

    label: str = ""  # what is counted
    done: int = 0
    total: int = 0  # 0 if unknown
    loss: float | None = None  # training loss


@dataclass(frozen=True, kw_only=True)
class ErrorReply(Reply):
    """The request was refused because of settings in it."""

    problems: tuple[SettingProblem, ...]


@dataclass(frozen=True, kw_only=True)
class EmptyReply(Reply):
    """The request was done."""


@dataclass(frozen=True, kw_only=True)
class RunReply(Reply):
    """How a run ended."""

    state: Literal["done", "failed", "preempted", "paused"]
    reason: str | None = None
    machine_failed: bool = False  # another run would end in the same way on this machine
    trained: bool = False  # whether this request trained it to its end
    probed: tuple[str, ...] = ()  # names of the probes that were scored


@dataclass(frozen=True, kw_only=True)
class RunRequest(Request[RunReply]):
    """Runs what is missing in a run folder."""

    folder: Path
    probes: dict[str, Settings]
    device: str = "cpu"  # device of the first rank
    memory_share: float = 1.0  # share of the device's memory that this worker may use
    ranks: int = 1
    until: int | None = None  # step to pause at and to score at
    evaluate: EvaluatePlan | None = None  # scores during training


@dataclass(frozen=True, kw_only=True)
class CheckRunsReply(Reply):
    """What is damaged in a store of runs."""

    num_runs: int
    problems: tuple[str, ...]  # for people, one per file


@dataclass(frozen=True, kw_only=True)
class CheckRunsRequest(Request[CheckRunsReply]):
    """Reads every file of a store of runs."""

    runs: Path


@dataclass(frozen=True, kw_only=True)
class AttentionReply(Reply):
    """Which attention kernels can serve on the first device of this machine."""

    lines: tuple[str, ...]  # for people, one per type of number and kernel


@dataclass(frozen=True, kw_only=True)
class AttentionRequest(Request[AttentionReply]):
    """Finds out which attention kernels can serve."""


@dataclass(frozen=True, kw_only=True)
class GalleryReply(Reply):
    """The pictures that were drawn."""

    title: str  # the clip in the pictures
    pictures: tuple[MaskPicture, ...]


@dataclass(frozen=True, kw_only=True)
class GalleryTrial(Item):
    """A trial whose masks are drawn, with the labels of its picture."""

    masker: str
    patchifier: str
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class GalleryRequest(Request[GalleryReply]):
    """Draws the masks of trials into a folder."""

    folder: Path
    trials: tuple[GalleryTrial, ...]


@dataclass(frozen=True, kw_only=True)
class TensorBoardEntry(Item):
    """A curve for TensorBoard, or the settings and score of a trial."""

    name: str  # folder of its event file
    tag: str = ""
    points: tuple[tuple[int, float], ...] = ()  # step, value
    settings: Settings = field(default_factory=dict)
    score: float | None = None  # percent


@dataclass(frozen=True, kw_only=True)
class TensorBoardRequest(Request[EmptyReply]):
    """Writes curves as TensorBoard event files."""

    folder: Path
    entries: tuple[TensorBoardEntry, ...]


@dataclass(frozen=True, kw_only=True)
class MaskerEntry(Item):
    """A masker class of a package."""

    name: str
    type: str  # as a study writes it
    about: str  # first paragraph of its documentation
    needs: tuple[str, ...]  # settings without a default
    examples: tuple[str, ...]  # settings in its documentation, as a study writes them


@dataclass(frozen=True, kw_only=True)
class MaskersReply(Reply):
    """The maskers of a package."""

    maskers: tuple[MaskerEntry, ...]


@dataclass(frozen=True, kw_only=True)
class MaskersRequest(Request[MaskersReply]):
    """Lists the maskers that a package exports."""

    package: str


@dataclass(frozen=True, kw_only=True)
class SchemaReply(Reply):
    """JSON schemas of parts."""

    settings: dict[str, Any]  # schema of each setting of a trial
    probe: dict[str, Any]
    definitions: dict[str, Any]  # schema of each part, by its name


@dataclass(frozen=True, kw_only=True)
class SchemaRequest(Request[SchemaReply]):
    """Returns the JSON schemas of all parts, and of those in `packages`."""

    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GridMasks(Item):
    """What a masker drew on one grid, or why it drew nothing."""

    grid: str
    problem: str | None  # why nothing was drawn, such as an unsupported grid
    masks: str | None = None  # picture of masks, relative to the gallery's folder
    counts: str | None = None  # picture of how often each patch is drawn
    figures: dict[str, Any] | None = None  # see `MaskStatistics.to_dict`


@dataclass(frozen=True, kw_only=True)
class DrawnMasker(Item):
    """A masker in the gallery of a package, or why it cannot be built."""

    name: str
    about: str
    settings: Settings  # with every default written out
    problem: str | None  # why it cannot be built
    declared: dict[str, Any] = field(default_factory=dict)  # promises, without the usual ones
    grids: tuple[GridMasks, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ZooReply(Reply):
    """The gallery of a package's maskers."""

    clip: str  # title of the clip in the pictures
    grids: tuple[str, ...]
    maskers: tuple[DrawnMasker, ...]


@dataclass(frozen=True, kw_only=True)
class ZooRequest(Request[ZooReply]):
    """Draws and measures maskers on grids of patches in frequency by time."""

    folder: Path
    maskers: tuple[NamedMasker, ...]
    grids: tuple[tuple[int, int], ...]
    audio: Path | None = None  # file to show the masks on; a synthetic clip if None


@dataclass(frozen=True, kw_only=True)
class FeaturesReply(Reply):
    """The table of features that was written."""

    files: int
    dim: int
    bad_files: tuple[tuple[str, str], ...] = ()  # path and reason of files that were left out


@dataclass(frozen=True, kw_only=True)
class FeaturesRequest(Request[FeaturesReply]):
    """Computes features of audio files by a trained encoder, and writes them to a table."""

    encoder: Path  # folder of a run or of an exported encoder
    sounds: str  # a folder, or a pattern of files
    table: Path
    view: str  # layer and pooling
    device: str = "cpu"
    skip_bad_audio: bool = False


REQUESTS: tuple[type[Message], ...] = (
    LoaderTimingsRequest,
    AttentionRequest,
    CheckRunsRequest,
    PlanRequest,
    DecodeRequest,
    RunRequest,
    GalleryRequest,
    TensorBoardRequest,
    MaskersRequest,
    SchemaRequest,
    ZooRequest,
    MaskerTimingsRequest,
    StepTimingsRequest,
    PeerTimingsRequest,
    FeaturesRequest,
)
REPLIES: tuple[type[Reply], ...] = (
    LoaderTimingsReply,
    AttentionReply,
    CheckRunsReply,
    PlanReply,
    DecodeReply,
    RunReply,
    GalleryReply,
    EmptyReply,
    MaskersReply,
    SchemaReply,
    ZooReply,
    MaskerTimingsReply,
    StepTimingsReply,
    PeerTimingsReply,
    FeaturesReply,
    ErrorReply,
)
ANSWERS: tuple[type[Message], ...] = (ReadyMessage, ProgressMessage, *REPLIES)
