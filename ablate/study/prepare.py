"""A study that can be run: its trials checked and named by a worker, and tuned where it says so."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config.study import Study, StudyError
from ablate.config.tree import format_problem
from ablate.core.records.plan import PlanRequest
from ablate.design import dedupe, factors
from ablate.design import plan as design_plan
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import print_line, progress_bar
from ablate.executors.worker import RequestRefusedError
from ablate.runs import pending, store
from ablate.runs.pending import PendingWork, PlannedRun
from ablate.slurm.executor import Cluster
from ablate.slurm.options import Asked


@dataclass(frozen=True)
class Planned:
    """A study that can be run: every trial checked and named by a worker."""

    study: Study
    trials: list[design.PlannedTrial]
    plan: dict[str, Any]  # as in plan.json

    @property
    def runs(self) -> list[PlannedRun]:
        """Every run that the study wants: its trials, their random-init twins, mel statistics.

        A run that several trials share is listed for each.
        """
        found = []
        varied = factors.factors(self.study)
        for trial in self.trials:
            title = f"{trial.variant}, seed {trial.seed}"
            levels = factors.as_written(varied, trial.levels)
            found.append(
                PlannedRun(trial.fingerprint, pending.TRIAL, trial.settings, title, levels)
            )
            for name in ("twin", "statistics"):
                other = trial.plan[name]
                title = f"{other['kind']} {other['fingerprint']}"
                found.append(
                    PlannedRun(other["fingerprint"], other["kind"], other["settings"], title)
                )
        return found

    @property
    def fresh(self) -> tuple[int, ...]:
        """The seeds on which what leads is confirmed."""
        return self.study.confirm_seeds

    def having(
        self, seeds: Collection[int], confirmed: Collection[Mapping[str, str]] = ()
    ) -> "Planned":
        """Returns the study with these of its seeds, and variants to confirm on its fresh seeds.

        Those are given by their levels, factor -> label.
        """
        kept = []
        for trial, told in zip(self.trials, self.plan["trials"], strict=True):
            if trial.seed in seeds:
                kept.append((trial, told))
            elif trial.seed in self.fresh and trial.levels in confirmed:
                kept.append((trial, {**told, "confirms": True}))
        plan = {**self.plan, "seeds": list(seeds), "trials": [told for _, told in kept]}
        return Planned(self.study, [trial for trial, _ in kept], plan)

    def backlog(self, runs: Path, *, retry_failed: bool = False) -> PendingWork:
        """Sorts the runs that the study wants by what is left to do; `runs` is their folder."""
        return pending.find_pending(self.runs, runs, self.plan["probes"], retry_failed=retry_failed)


def prepare(study: Study, pool: Pool, console: Console) -> Planned:
    """Has a worker check every trial and name it. Raises `StudyError` with all problems."""
    varied = factors.factors(study)
    trials = design.trials(study, varied)
    request = PlanRequest(
        trials=[dict(trial.settings) for trial in trials],
        inner=[[list(path) for path in trial.inner] for trial in trials],
        probes=study.probes,
        score=design_plan.score(study, trials),
        evaluate=design_plan.evaluate(study),
    )
    if study.match_budget is not None:
        baseline = {**study.baseline.plain(), "seed": study.seeds[0]}
        match = {"by": study.match_budget, "baseline": baseline}
        request = replace(request, matched_budget=match)
    problems: list[str] = []
    with progress_bar(console, f"planning {study.name}") as on_progress:
        try:
            reply = pool.request(request, on_progress)
        except RequestRefusedError as error:  # of what all trials share; they may have more
            problems += [format_problem(study.tree, asdict(found)) for found in error.problems]
            only_trials = PlanRequest(trials=request.trials, inner=request.inner, quiet=True)
            reply = pool.request(only_trials, on_progress)
    problems += design.refused(study, trials, reply.trials)
    problems += _unvalidated(study, reply.data)
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))
    trials = design.planned(trials, reply.trials)
    varied, trials = dedupe.settle(varied, trials)
    trials = dedupe.merge(varied, trials)
    return Planned(study, trials, design_plan.summary(study, varied, trials, asdict(reply)))


def _unvalidated(study: Study, data: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Says what lacks validation clips, by which `evaluate` scores and `confirm` chooses."""
    judged = [bool(task.get("valid")) for one in data for task in one["tasks"].values()]
    if study.evaluate is not None and data and not any(judged):
        problem = "`evaluate` scores on validation clips, but no task has any"
        yield f"{study.tree.children['evaluate'].place}: {problem}; give one some, or leave it out"
    lacking = [name for one in data for name, task in one["tasks"].items() if not task.get("valid")]
    if study.confirm is not None and lacking:
        names = ", ".join(dict.fromkeys(lacking))
        problem = f"`confirm` chooses by validation scores, but {names} has no validation clips"
        yield f"{study.tree.children['confirm'].place}: {problem}; give it some, or leave this out"


def tuned(
    planned: Planned, pool: Pool, folders: store.Folders, console: Console, *, taken: bool = False
) -> Planned:
    """Sweeps where the study asks for it; what is tuned takes the place of what is written.

    `taken` says that a cluster has taken the points. Raises `StudyError` for a sweep that
    cannot be, and what `tuning.tune` raises.
    """
    study = planned.study
    if study.sweep is None:
        return planned
    from ablate.sweep import tuning

    say_sweep(planned, pool, console)
    found = tuning.tune(study, planned.plan, pool, folders, console, searched=taken)
    for line in tuning.format_results(found):
        print_line(console, line)
    return Planned(study, *tuning.plan_tuned_trials(study, planned.plan, found, pool, console))


def swept(
    planned: Planned, site: Cluster, where: Asked, folders: store.Folders, console: Console
) -> bool:
    """Has a cluster take the points of a sweep; tells whether there is none left to take.

    True for a study without one. Raises `RefusedError` and `SweepError`.
    """
    study = planned.study
    if study.sweep is None:
        return True
    from ablate.sweep import slurm as sweep_slurm

    if site.needs.levels:
        rule = "`slurm.levels` applies only to what is trained after the sweep"
        print_line(console, f"the sweep's workers get what the profile asks for; {rule}")
    options = ["--sweep-only", "--workers", str(max(1, site.profile.gpus))]
    command = ["-m", "ablate.study", str(study.file), *study.overrides, *options]
    return sweep_slurm.sweep_on_cluster(
        study, planned.plan, site.profile, folders, where, command, console
    )


def say_sweep(planned: Planned, pool: Pool, console: Console) -> None:
    """Checks the study's sweep and says what it tunes. Raises as `tuning.check_sweep`."""
    from ablate.sweep import tuning

    tuning.check_sweep(planned.study, planned.plan, pool, console)
    for line in tuning.describe_sweep(planned.study, planned.plan):
        print_line(console, line)
