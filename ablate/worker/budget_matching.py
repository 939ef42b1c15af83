"""Matches the budgets of trials: the number of steps with which each gets as much as the baseline.

Trials of equal steps do not get equal budgets: a step costs more with a masker that shows more, or
with smaller patches. A study may match clips or FLOPs instead of steps.
"""

import dataclasses

from ablate.core.records.plan import MatchedBudget
from ablate.worker.meta_model import expected_flops
from ablate.worker.trial import Trial


@dataclasses.dataclass(frozen=True)
class TargetBudget:
    """The amount that every trial of a study gets."""

    by: str  # steps, clips or flops
    total: int

    @classmethod
    def of(cls, by: str, baseline: Trial) -> "TargetBudget":
        """Computes it from the baseline: its steps times what one step takes."""
        return cls(by, baseline.budget.steps * _compute_step_costs(baseline)[by])

    def match(self, trial: Trial) -> tuple[Trial, MatchedBudget]:
        """Returns the trial with the steps whose total is nearest, at least 1, and their cost."""
        costs = _compute_step_costs(trial)
        steps = max(1, round(self.total / costs[self.by]))
        budget = dataclasses.replace(trial.budget, steps=steps)
        totals = {name: steps * cost for name, cost in costs.items()}
        return dataclasses.replace(trial, budget=budget), MatchedBudget(by=self.by, **totals)


def _compute_step_costs(trial: Trial) -> dict[str, int]:
    return {"steps": 1, "clips": trial.budget.batch, "flops": expected_flops(trial)}
