"""All that changes while a training runs, and how it is put into a checkpoint and back."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ablate.model.jepa import JEPA
from ablate.training.health import Health, PositionGuess
from ablate.training.metrics import Cost, Log, Window
from ablate.training.online_probe import Course
from ablate.training.optimizer import ScheduledAdamW


@dataclass
class Progress:
    """How far a training has come."""

    jepa: JEPA
    adamw: ScheduledAdamW
    guess: PositionGuess
    start: Health  # before the first step
    micro_batches: int  # that each step is cut into here
    cost: Cost = field(default_factory=Cost)
    log: Log | None = None  # the last report
    window: Window = field(default_factory=Window)
    course: Course = field(default_factory=Course)
    warnings: list[str] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Gathers all that going on needs, as tensors and plain numbers."""
        return {
            "start": asdict(self.start),
            "cost": asdict(self.cost),
            "log": None if self.log is None else asdict(self.log),
            "jepa": self.jepa.state_dict(),
            "adamw": self.adamw.state_dict(),
            "guess": self.guess.state_dict(),
            "window": self.window.state(),
            "course": asdict(self.course),
            "warnings": self.warnings,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Puts a gathered state back where it was, and empties `saved`: nothing is held twice.

        How many `micro_batches` there are is not part of it.
        """
        self.start = Health(**saved.pop("start"))
        self.cost = Cost(**saved.pop("cost"))
        log = saved.pop("log")
        self.log = None if log is None else Log(**log)
        self.jepa.load_state_dict(saved.pop("jepa"))
        self.adamw.load_state_dict(saved.pop("adamw"))
        self.guess.load_state_dict(saved.pop("guess"))
        self.window.restore(saved.pop("window"), self.guess.heard.device)
        self.course = Course(**saved.pop("course", {}))  # a checkpoint may be older than it
        self.warnings = list(saved.pop("warnings"))
