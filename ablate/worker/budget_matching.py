"""Matches the budgets of trials: computes the steps by which each gets as much as the baseline.

Trials of equal steps do not have equal budgets: a step costs more if the masker leaves more visible
or if patches are smaller. A study may match clips or FLOPs instead of steps.
"""

import dataclasses

from ablate.core.records.plan import MatchedBudget
from ablate.worker.meta_model import estimate_step_flops
from ablate.worker.trial import Trial


@dataclasses.dataclass(frozen=True)
class TargetBudget:
    """The amount that every trial of a study gets."""

    by: str  # `steps`, `clips` or `flops`
    total: int  # in the unit that `by` names

    @classmethod
    def from_baseline(cls, by: str, baseline: Trial) -> "TargetBudget":
        """Computes the total of the baseline: its steps times the cost of one step."""
        return cls(by, baseline.budget.steps * _compute_step_costs(baseline)[by])

    def match(self, trial: Trial) -> tuple[Trial, MatchedBudget]:
        """Returns the trial with the steps that come closest, at least 1, and its budget."""
        costs = _compute_step_costs(trial)
        steps = max(1, round(self.total / costs[self.by]))
        budget = dataclasses.replace(trial.budget, steps=steps)
        totals = {name: steps * cost for name, cost in costs.items()}
        return dataclasses.replace(trial, budget=budget), MatchedBudget(by=self.by, **totals)


def _compute_step_costs(trial: Trial) -> dict[str, int]:
    return {"steps": 1, "clips": trial.budget.batch, "flops": estimate_step_flops(trial)}
