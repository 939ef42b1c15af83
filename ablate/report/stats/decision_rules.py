"""How a study decides: at which level, within which margin, and at which of its looks."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.report.stats.alpha_spending import Looks, read_looks
from ablate.report.stats.statistics import correct_by_holm


@dataclass(frozen=True, kw_only=True)
class DecisionRules:
    """How a study decides."""

    alpha: float  # chance of a wrong word, over a family of contrasts
    margin: float  # points, to either side of zero, within which two levels count as equal
    looks: Looks | None  # None where the seeds are fixed

    @property
    def error_share(self) -> float:
        """Returns the share of the error that may be spent now."""
        return 1.0 if self.looks is None else self.looks.error_share

    @property
    def level(self) -> float:
        """Returns what an interval leaves out: this look's part of alpha, or all, past the last."""
        return self.alpha * (self.error_share or 1.0)

    @property
    def history(self) -> "tuple[DecisionRules, ...]":
        """Returns the rules at every look, this one last."""
        past = (None,) if self.looks is None else self.looks.history
        return tuple(dataclasses.replace(self, looks=looks) for looks in past)

    def correct(self, ps: Sequence[float | None]) -> list[float | None]:
        """Corrects a family of p-values for its size and for the looks."""
        return [None if p is None else self._spent(p) for p in correct_by_holm(ps)]

    def _spent(self, p: float) -> float:
        return min(p / self.error_share, 1.0) if self.error_share else 1.0


def read_decision_rules(plan: Mapping[str, Any]) -> DecisionRules:
    """Reads how a study decides at its last look."""
    report = plan["report"]
    return DecisionRules(
        alpha=report["alpha"], margin=report["equivalence_margin"], looks=read_looks(plan)
    )


def format_coverage(*levels: float) -> str:
    """Writes what intervals cover, as percentages: `95 %`, or `95, 98.12 %`."""
    return f"{', '.join(sorted({f'{100 * (1 - level):.4g}' for level in levels}))} %"
