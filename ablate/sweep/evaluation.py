"""One point being tried: its trials, rung by rung and seed by seed, to the end or until pruned."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ablate.config.search_space import Point
from ablate.config.sweep import Sweep
from ablate.executors.local import WorkerHandle
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.record import mark_pruned
from ablate.sweep import recovery
from ablate.sweep.search import Search

LEFT = ("preempted", "cancelled")


class _LostError(Exception):
    """A run was stopped before its end; its point is for others to take."""


class _PrunedError(Exception):
    """A point is not worth going on with."""


@dataclass(frozen=True)
class Tryout:
    """The runs of a point, one a seed, and what they are judged by."""

    sweep: Sweep
    search: Search
    point: Point
    seat: WorkerHandle
    jobs: Sequence[RunJob]
    steps: int  # of each; 0 where there are no rungs
    probe: dict[str, Any]  # with every default written out
    pooling: str
    rungs: dict[str, float] = field(default_factory=dict)  # percent of the steps -> score there
    by_seed: dict[str, float] = field(
        default_factory=dict
    )  # place of a seed that is judged -> score

    def run(self) -> None:
        """Tries the point, and tells the search what it is worth.

        That is its score, or that it was pruned, has failed, or is left to others.
        """
        folders = [job.folder for job in self.jobs]
        try:
            for share in self.sweep.rungs:
                self._judge(share)
            self._finish()
        except _LostError as lost:
            self.search.give_back(self.point, str(lost), in_order=self.seat.is_stopping)
            return
        except _PrunedError as pruned:
            self._record_point(pruned=str(pruned))
            for folder in folders:
                mark_pruned(folder, str(pruned))
            facts = {**recovery.summarize_runs(folders), **self._scores(), "pruned": str(pruned)}
            self.search.prune(self.point, str(pruned), facts)
            return
        objectives = self.sweep.objectives
        values, reason = recovery.compute_objectives(folders, self.probe, self.pooling, objectives)
        if values is None:
            self.search.fail(self.point, reason or "no score")
            return
        self._record_point()
        self.search.tell(self.point, values, {**recovery.summarize_runs(folders), **self._scores()})

    def _judge(self, share: float) -> None:
        """Trains every seed to a rung. Raises `_PrunedError` where others did better there."""
        rung, values = round(100 * share), []
        for job in self.jobs:
            step = max(1, round(share * self.steps))
            aside = job.folder / "rungs" / str(step)
            if self._score(aside) is None:
                self._run(dataclasses.replace(job, until=step))
            values.append(self._score(aside))
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return  # trained past it by another study, or failed: its end will say
        self.rungs[str(rung)] = fmean(known)
        if self.search.is_hopeless(self.point, rung, fmean(known)):
            raise _PrunedError(f"pruned at {rung} % of the steps, with {fmean(known):.1f}")

    def _finish(self) -> None:
        """Trains every seed to its end, as long as each comes to one."""
        for place, job in enumerate(self.jobs):
            if self._run(job).state != "done":
                return
            value = self._score(job.folder)
            if self.sweep.pruner != "wilcoxon" or value is None or job is self.jobs[-1]:
                continue
            self.by_seed[str(place)] = value
            if self.search.is_hopeless(self.point, place, value):
                raise _PrunedError(f"pruned after {place + 1} of {len(self.jobs)} seeds")

    def _run(self, job: RunJob) -> RunOutcome:
        outcome = self.seat.run(job)
        if outcome.state in LEFT or outcome.died:
            raise _LostError(outcome.reason or outcome.state)
        return outcome

    def _score(self, folder: Path) -> float | None:
        return store.read_score(folder, self.probe, self.pooling, part="valid")

    def _scores(self) -> dict[str, dict[str, float]]:
        """Returns what the pruner was shown, for a storage that is rebuilt."""
        shown = {"rungs": self.rungs, "by_seed": self.by_seed}
        return {key: scores for key, scores in shown.items() if scores}

    def _record_point(self, pruned: str | None = None) -> None:
        names = [job.folder.name for job in self.jobs]
        runs = self.jobs[0].folder.parent
        recovery.record_point(
            runs,
            self.search.name,
            self.point,
            names,
            rungs=self.rungs,
            by_seed=self.by_seed,
            pruned=pruned,
        )
