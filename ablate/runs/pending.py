"""What a study still lacks: the wanted runs less those on disk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.run import RunKind
from ablate.runs import store
from ablate.runs.job import RunJob

TRIAL: RunKind = "jepa"  # the kind of run that is trained; the others are references


@dataclass(frozen=True)
class PlannedRun:
    """A run that a study wants."""

    fingerprint: str
    kind: RunKind
    settings: Mapping[str, Any]
    title: str  # for people
    levels: Mapping[str, str] = field(default_factory=dict)  # factor -> label; of a training


@dataclass(frozen=True)
class PendingWork:
    """The wanted runs, by what is left to do."""

    start: list[PlannedRun] = field(default_factory=list)
    score: list[PlannedRun] = field(default_factory=list)  # done, but under other probes
    done: list[PlannedRun] = field(default_factory=list)
    failed: list[tuple[PlannedRun, str]] = field(
        default_factory=list
    )  # with the reason; left at that

    @property
    def trainings(self) -> list[PlannedRun]:
        """Returns the trials that are to be trained."""
        return [run for run in self.start if run.kind == TRIAL]

    @property
    def references(self) -> list[PlannedRun]:
        """Returns the runs that are to be scored without a training."""
        return [run for run in self.start if run.kind != TRIAL]

    def counts(self) -> dict[str, int]:
        """Counts the runs of each kind: trainings, references, scores, done, failed."""
        return {
            "trainings": len(self.trainings),
            "references": len(self.references),
            "scores": len(self.score),
            "done": len(self.done),
            "failed": len(self.failed),
        }

    def jobs(
        self,
        runs: Path,
        probes: Mapping[str, Any],
        evaluate: EvaluatePlan | None = None,
    ) -> list[RunJob]:
        """Prepares the run folders of all that is left to do; returns its jobs.

        References are short, so they go last. `probes` and `evaluate` are those of the plan.
        """
        wanted = [*self.score, *self.trainings, *self.references]
        for run in wanted:
            store.write_config(runs / run.fingerprint, kind=run.kind, settings=run.settings)
        return [
            RunJob(runs / run.fingerprint, run.title, probes, levels=run.levels, evaluate=evaluate)
            for run in wanted
        ]


def find_pending(
    wanted: Iterable[PlannedRun],
    runs: Path,
    probes: Mapping[str, Any],
    *,
    retry_failed: bool = False,
) -> PendingWork:
    """Sorts the wanted runs by what their folders hold. `probes` have every default written out."""
    backlog = PendingWork()
    firsts: dict[str, PlannedRun] = {}  # a run that several variants share is called by the first
    for run in wanted:
        firsts.setdefault(run.fingerprint, run)
    for run in firsts.values():
        folder = runs / run.fingerprint
        status = store.read_status(folder)
        if status.state == "failed" and not retry_failed:
            backlog.failed.append((run, status.reason or "no reason is recorded"))
        elif status.state != "done":
            backlog.start.append(run)
        elif store.find_missing_probes(folder, probes):
            backlog.score.append(run)
        else:
            backlog.done.append(run)
    return backlog
