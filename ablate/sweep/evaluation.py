"""Evaluates one point of a sweep: trains its trials rung by rung until they end or are pruned."""

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

STOPPED = ("preempted", "cancelled")


class _StoppedError(Exception):
    """A run was stopped before its end; another process may evaluate the point."""


class _PrunedError(Exception):
    """The pruner ended a point."""


@dataclass(frozen=True)
class PointEvaluation:
    """The runs of a point, one per seed, and the score that they are judged by."""

    sweep: Sweep
    search: Search
    point: Point
    worker: WorkerHandle
    jobs: Sequence[RunJob]
    steps: int  # steps of each run; 0 if there are no rungs
    probe: dict[str, Any]  # complete settings of the probe
    pooling: str
    rungs: dict[str, float] = field(default_factory=dict)  # percent of the steps -> score there
    by_seed: dict[str, float] = field(default_factory=dict)  # index of a seed -> its score

    def run(self) -> None:
        """Trains the point's runs and records the result in the search.

        The point gets a score, is pruned, fails, or is released to other processes.
        """
        folders = [job.folder for job in self.jobs]
        try:
            for share in self.sweep.rungs:
                self._train_to_rung(share)
            self._train_to_end()
        except _StoppedError as stopped:
            self.search.release(self.point, str(stopped), requested=self.worker.is_stopping)
            return
        except _PrunedError as pruned:
            self._record_point(pruned=str(pruned))
            for folder in folders:
                mark_pruned(folder, str(pruned))
            facts = {**self._summarize(folders), "pruned": str(pruned)}
            self.search.prune(self.point, str(pruned), facts)
            return
        objectives = self.sweep.objectives
        values, reason = recovery.compute_objectives(folders, self.probe, self.pooling, objectives)
        if values is None:
            self.search.fail(self.point, reason or "no score")
            return
        self._record_point()
        self.search.complete(self.point, values, self._summarize(folders))

    def _train_to_rung(self, share: float) -> None:
        """Trains every seed to a rung. Raises `_PrunedError` if the pruner ends the point."""
        rung, scores = round(100 * share), []
        for job in self.jobs:
            step = max(1, round(share * self.steps))
            folder = job.folder / "rungs" / str(step)
            if self._read_score(folder) is None:
                self._run_job(dataclasses.replace(job, until=step))
            scores.append(self._read_score(folder))
        present = [score for score in scores if score is not None]
        if len(present) < len(scores):
            return  # failed, or trained past the rung by another study: judged at the end
        self.rungs[str(rung)] = fmean(present)
        if self.search.should_prune(self.point, rung, fmean(present)):
            raise _PrunedError(f"pruned at {rung} % of the steps, with {fmean(present):.1f}")

    def _train_to_end(self) -> None:
        """Trains every seed to its end, until one fails. Raises `_PrunedError`."""
        for index, job in enumerate(self.jobs):
            if self._run_job(job).state != "done":
                return
            score = self._read_score(job.folder)
            if self.sweep.pruner != "wilcoxon" or score is None or job is self.jobs[-1]:
                continue
            self.by_seed[str(index)] = score
            if self.search.should_prune(self.point, index, score):
                raise _PrunedError(f"pruned after {index + 1} of {len(self.jobs)} seeds")

    def _run_job(self, job: RunJob) -> RunOutcome:
        outcome = self.worker.run(job)
        if outcome.state in STOPPED or outcome.died:
            raise _StoppedError(outcome.reason or outcome.state)
        return outcome

    def _read_score(self, folder: Path) -> float | None:
        return store.read_score(folder, self.probe, self.pooling, part="valid")

    def _summarize(self, folders: Sequence[Path]) -> dict[str, Any]:
        """Returns facts about the runs, and the scores that the pruner saw, if any."""
        scores = {"rungs": self.rungs, "by_seed": self.by_seed}
        present = {key: values for key, values in scores.items() if values}
        return {**recovery.summarize_runs(folders), **present}

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
