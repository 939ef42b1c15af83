"""The training state, as saved in checkpoints, and the result of a training."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ablate.model.attention import KernelChoice
from ablate.model.jepa import JEPA
from ablate.training.health import Health, PositionBaseline
from ablate.training.metrics import MetricWindow, TrainingCost, TrainingMetrics
from ablate.training.online_probe import ProbeHistory
from ablate.training.optimizer import ScheduledAdam

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training returns, apart from the trained model."""

    start: Health
    last: TrainingMetrics
    cost: TrainingCost
    probe_history: ProbeHistory
    collapsed: bool
    warnings: list[str]
    attention: list[str]  # kernels that computed attention, by name


@dataclass
class TrainingState:
    """Everything that changes during training."""

    jepa: JEPA
    adam: ScheduledAdam
    baseline: PositionBaseline
    start: Health  # before the first step
    micro_batches: int  # parts of a step on this rank; not part of a checkpoint
    cost: TrainingCost = field(default_factory=TrainingCost)
    metrics: TrainingMetrics | None = None  # the last report
    window: MetricWindow = field(default_factory=MetricWindow)
    probe_history: ProbeHistory = field(default_factory=ProbeHistory)
    warnings: list[str] = field(default_factory=list)
    attention: list[str] = field(default_factory=list)  # kernels that computed attention, by name

    def record_attention(self, served: Mapping[str, KernelChoice]) -> None:
        """Adds the kernels that have served; warns once if one is slower than xformers."""
        for name, choice in served.items():
            if name not in self.attention:
                self.attention.append(name)
            if choice.warning is not None and choice.warning not in self.warnings:
                self.warnings.append(choice.warning)
                logger.warning(choice.warning)

    def state_dict(self) -> dict[str, Any]:
        """Returns all that is needed to resume, as tensors and plain values."""
        return {
            "start": asdict(self.start),
            "cost": asdict(self.cost),
            "metrics": None if self.metrics is None else asdict(self.metrics),
            "jepa": self.jepa.state_dict(),
            "adam": self.adam.state_dict(),
            "baseline": self.baseline.state_dict(),
            "window": self.window.state_dict(),
            "probe_history": asdict(self.probe_history),
            "warnings": self.warnings,
            "attention": self.attention,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores a saved state, and empties `saved` so that no tensor is in memory twice."""
        self.start = Health(**saved.pop("start"))
        self.cost = TrainingCost(**saved.pop("cost"))
        metrics = saved.pop("metrics")
        self.metrics = None if metrics is None else TrainingMetrics(**metrics)
        self.jepa.load_state_dict(saved.pop("jepa"))
        self.adam.load_state_dict(saved.pop("adam"))
        self.baseline.load_state_dict(saved.pop("baseline"))
        self.window.load_state_dict(saved.pop("window"), self.baseline.pending.device)
        self.probe_history = ProbeHistory(**saved.pop("probe_history"))
        self.warnings = list(saved.pop("warnings"))
        self.attention = list(saved.pop("attention"))
