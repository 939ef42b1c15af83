"""Finds the runs of a study that have still to be trained or scored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.run import RunConfig, RunKind
from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.runs.record import repair_record

TRIAL: RunKind = "jepa"  # the kind of run that is trained; the others are references


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study."""

    fingerprint: str
    kind: RunKind
    settings: Mapping[str, Any]
    title: str  # for people
    levels: Mapping[str, str] = field(default_factory=dict)  # factor -> label; only of trainings


@dataclass(frozen=True)
class PendingWork:
    """The runs of a study, by what is left to do."""

    start: list[PlannedRun] = field(default_factory=list)
    score: list[PlannedRun] = field(default_factory=list)  # trained, but not scored by all probes
    done: list[PlannedRun] = field(default_factory=list)
    failed: list[tuple[PlannedRun, str]] = field(
        default_factory=list
    )  # with the reason; not tried again

    @property
    def trainings(self) -> list[PlannedRun]:
        """The trials that have to be trained."""
        return [run for run in self.start if run.kind == TRIAL]

    @property
    def references(self) -> list[PlannedRun]:
        """The runs that have to be scored without a training."""
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
        *,
        write: bool = True,
    ) -> list[RunJob]:
        """Writes the configurations of all runs that are left; returns their jobs.

        Records and configurations of finished runs that cannot be read are written again.

        References are short, so they come last.

        Args:
            runs: the folder of runs.
            probes: those of the plan.
            evaluate: that of the plan.
            write: whether to write; False for jobs that are only shown.
        """
        pending = [*self.score, *self.trainings, *self.references]
        for run in pending if write else ():
            store.write_config(runs / run.fingerprint, kind=run.kind, settings=run.settings)
        for run in self.done if write else ():
            repair_record(runs / run.fingerprint)
            store.repair_config(runs / run.fingerprint, kind=run.kind, settings=run.settings)
        return [
            RunJob(
                runs / run.fingerprint,
                run.title,
                probes,
                levels=run.levels,
                evaluate=evaluate,
                config=RunConfig(kind=run.kind, settings=dict(run.settings)),
            )
            for run in pending
        ]


def find_pending(
    planned: Iterable[PlannedRun],
    runs: Path,
    probes: Mapping[str, Any],
    *,
    retry_failed: bool = False,
) -> PendingWork:
    """Sorts runs by what their folders contain. `probes` have every default written out."""
    work = PendingWork()
    firsts: dict[
        str, PlannedRun
    ] = {}  # a run that several variants share has the title of the first
    for run in planned:
        firsts.setdefault(run.fingerprint, run)
    for run in firsts.values():
        folder = runs / run.fingerprint
        status = store.read_status(folder)
        if status.state == "failed" and not retry_failed:
            work.failed.append((run, status.reason or "no reason is recorded"))
        elif status.state != "done":
            work.start.append(run)
        elif store.find_missing_probes(folder, probes):
            work.score.append(run)
        else:
            work.done.append(run)
    return work
