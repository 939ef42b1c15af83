"""Defines the requests and replies of benchmarks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.core.records.protocol import Reply, Request
from ablate.core.records.record import Item

Settings = dict[str, Any]  # settings of a trial or a masker


@dataclass(frozen=True, kw_only=True)
class NamedMasker(Item):
    """A masker to draw or to time."""

    name: str
    settings: Settings
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class DrawTiming(Item):
    """Median times of a draw and of the plain draw that it alternated with."""

    milliseconds: float
    plain_milliseconds: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class MaskerTiming(Item):
    """The timing of a masker, or why it cannot be timed."""

    name: str
    problem: str | None  # why it cannot be timed
    slow: str = ""  # the masker's own explanation why it is slow
    copies: int = 1  # masks per clip
    milliseconds: float | None = None  # these three as in `DrawTiming`
    plain_milliseconds: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class MaskerTimingsReply(Reply):
    """Timings of maskers, and of a loop that draws the blocks of each sample in turn."""

    grid: str
    batch: int
    maskers: tuple[MaskerTiming, ...]
    loop: DrawTiming | None  # None if it was not timed


@dataclass(frozen=True, kw_only=True)
class MaskerTimingsRequest(Request[MaskerTimingsReply]):
    """Times maskers on one thread."""

    maskers: tuple[NamedMasker, ...]
    grid: tuple[int, int]  # patches in frequency and time
    batch: int
    slow: bool = True  # whether maskers that are declared slow are timed, too
    loop: bool = True  # whether the loop over samples is timed


@dataclass(frozen=True, kw_only=True)
class StepTiming(Item):
    """What a training step costs, or why the variant cannot be built."""

    name: str
    problem: str | None = None  # why it cannot be built
    compared_with: str | None = None  # variant that a reference model is compared with
    precision: str = ""
    milliseconds: float = 0.0  # the slower of drawing and learning, if batches are drawn ahead
    drawing_milliseconds: float | None = None  # None if a step draws its batch itself
    attention: tuple[str, ...] = ()  # kernels that served
    clips_per_second: float = 0.0
    tokens_per_second: float = 0.0
    audio_hours_per_hour: float = 0.0
    utilisation: float = 0.0  # share of the FLOP/s of a matrix product
    peak_memory_mb: float | None = None  # in units of 2**20 bytes; None on a CPU
    rounds: int = 0
    context: float = 0.0  # visible tokens per mask
    targets: float = 0.0  # target tokens per mask
    flops: float = 0.0


@dataclass(frozen=True, kw_only=True)
class KernelTiming(Item):
    """Median time of forward and backward of an attention kernel."""

    name: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class StepTimingsReply(Reply):
    """Timings of training steps and attention kernels."""

    device: str
    threads: int
    torch: str  # version
    ceiling_tflops: dict[str, float]  # precision -> TFLOP/s of a matrix product
    steps: tuple[StepTiming, ...]
    kernels: tuple[KernelTiming, ...]


@dataclass(frozen=True, kw_only=True)
class NamedTrial(Item):
    """A trial to time."""

    name: str
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class StepTimingsRequest(Request[StepTimingsReply]):
    """Times training steps of variants for about `seconds`."""

    variants: tuple[NamedTrial, ...]
    device: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LoaderTiming(Item):
    """Median time of one part of loading a batch."""

    name: str
    milliseconds: float
    clips_per_second: float


@dataclass(frozen=True, kw_only=True)
class LoaderTimingsReply(Reply):
    """Timings of loading batches of `batch` crops of `frames` frames and `bands` bands."""

    batch: int
    frames: int
    bands: int
    timings: tuple[LoaderTiming, ...]


@dataclass(frozen=True, kw_only=True)
class LoaderTimingsRequest(Request[LoaderTimingsReply]):
    """Times loading the batches of a trial, with noise for sound."""

    trial: NamedTrial
    device: str


@dataclass(frozen=True, kw_only=True)
class PeerTiming(Item):
    """A training step of ours compared with one of other code that does the same work."""

    size: str  # which model and grid
    ours: str
    peer: str
    per: str  # what the times are divided by: a step, or a context token
    ratio: float  # the peer's time over ours; median over the rounds
    interval: tuple[float, float]  # encloses the median with 95 % confidence
    rounds: int
    milliseconds: float  # duration of our step
    peer_milliseconds: float
    context: float  # visible tokens per mask
    peer_context: float


@dataclass(frozen=True, kw_only=True)
class PeerTimingsReply(Reply):
    """Comparisons of training steps, and why some could not be made."""

    device: str
    threads: int
    torch: str  # version
    precision: str
    batch: int
    timings: tuple[PeerTiming, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PeerTimingsRequest(Request[PeerTimingsReply]):
    """Compares training steps with those of other code, for about `seconds` per size of model."""

    folder: Path  # holds the checkouts
    sizes: dict[str, tuple[NamedTrial, ...]]  # name of a size -> our variants
    device: str
    seconds: float
