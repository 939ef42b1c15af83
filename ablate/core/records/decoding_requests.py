"""How a worker is asked to decode the clips of a study ahead of its trials, and what it replies."""

from dataclasses import dataclass, field
from pathlib import Path

from ablate.core.records.plan import Settings
from ablate.core.records.protocol import Reply, Request
from ablate.core.records.record import Item


@dataclass(frozen=True, kw_only=True)
class DecodedStore(Item):
    """The clips of one source, as one front end converts them."""

    folder: Path
    clips: int  # that can be used; of a part, those that were decoded now
    bad: int  # that were left out
    hours: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class DecodeReply(Reply):
    """The stores that hold the clips of a study."""

    stores: tuple[DecodedStore, ...]


@dataclass(frozen=True, kw_only=True)
class DecodeRequest(Request[DecodeReply]):
    """Asks a worker to decode the clips that trials train on, and those of their probes."""

    trials: tuple[Settings, ...]
    optional: tuple[tuple[tuple[str, ...], ...], ...] = ()  # per trial: settings to drop if unknown
    probes: dict[str, Settings] = field(default_factory=dict)
    part: tuple[int, int] | None = None  # number, from 0, and count of parts; None for all clips
