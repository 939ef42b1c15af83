"""Matched budgets: the steps with which a trial is given as much as the baseline is.

Variants that are trained for as many steps are not given as much: a masker that shows more, or a
finer patch, costs more a step. A study may ask that all are given as many clips, or FLOPs.
"""

import dataclasses
from typing import Any

from ablate.worker.meta_model import expected_flops
from ablate.worker.trial import Trial


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How much of what every trial of a study is given."""

    by: str  # steps, clips, flops
    total: int

    @classmethod
    def of(cls, by: str, baseline: Trial) -> "Wanted":
        """Takes it from the baseline: its steps, times what a step takes."""
        return cls(by, baseline.budget.steps * _a_step(baseline)[by])

    def given_to(self, trial: Trial) -> tuple[Trial, dict[str, Any]]:
        """Returns a trial with the steps whose total is nearest, at least 1, and what they take."""
        used = _a_step(trial)
        steps = max(1, round(self.total / used[self.by]))
        budget = dataclasses.replace(trial.budget, steps=steps)
        taken = {name: steps * count for name, count in used.items()}
        return dataclasses.replace(trial, budget=budget), {"budget": {"by": self.by, **taken}}


def _a_step(trial: Trial) -> dict[str, int]:
    return {"steps": 1, "clips": trial.budget.batch, "flops": expected_flops(trial)}
