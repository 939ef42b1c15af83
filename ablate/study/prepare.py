"""Prepares a study to be run: a worker validates its trials, and a sweep tunes them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ablate.config.study import Study, StudyError
from ablate.config.tree import format_problem
from ablate.core.records.plan import DataSummary, StudyPlan, TrialEntry
from ablate.core.records.planning import BudgetMatch, PlanRequest, ResolvedRun, ResolvedTrial
from ablate.design import dedupe, factors
from ablate.design import plan as design_plan
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import print_line, progress_bar
from ablate.runs import pending, store
from ablate.runs.pending import PendingWork, PlannedRun
from ablate.slurm.executor import Cluster
from ablate.slurm.options import SlurmOptions


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose trials a worker has validated; `trials` and `plan.trials` correspond."""

    study: Study
    trials: list[design.PlannedTrial]
    plan: StudyPlan

    @property
    def runs(self) -> list[PlannedRun]:
        """Every run that the study needs: its trials, their random inits, mel statistics.

        A run that several trials share is listed for each.
        """
        runs = []
        varied = factors.build_factors(self.study)
        for trial in self.trials:
            title = f"{trial.variant}, seed {trial.seed}"
            levels = factors.split_zipped_levels(varied, trial.levels)
            runs.append(PlannedRun(trial.fingerprint, pending.TRIAL, trial.settings, title, levels))
            resolved = trial.get_resolved()
            for reference in list_references(resolved):
                title = f"{reference.kind} {reference.fingerprint}"
                runs.append(
                    PlannedRun(reference.fingerprint, reference.kind, reference.settings, title)
                )
        return runs

    @property
    def confirmation_seeds(self) -> tuple[int, ...]:
        """The fresh seeds on which leading variants are confirmed."""
        return self.study.confirm_seeds

    def subset(
        self, seeds: Collection[int], confirmed: Collection[Mapping[str, str]] = ()
    ) -> "PreparedStudy":
        """Returns the study with some of its seeds, and with variants to confirm.

        Args:
            seeds: the seeds to keep.
            confirmed: levels, factor -> label, of the variants to train on the confirmation seeds.
        """
        kept: list[tuple[design.PlannedTrial, TrialEntry]] = []
        for trial, entry in zip(self.trials, self.plan.trials, strict=True):
            if trial.seed in seeds:
                kept.append((trial, entry))
            elif trial.seed in self.confirmation_seeds and trial.levels in confirmed:
                kept.append((trial, replace(entry, confirms=True)))
        entries = tuple(entry for _, entry in kept)
        plan = replace(self.plan, seeds=tuple(seeds), trials=entries)
        return PreparedStudy(self.study, [trial for trial, _ in kept], plan)

    def find_pending(self, runs: Path, *, retry_failed: bool = False) -> PendingWork:
        """Sorts the runs that the study needs by what is left to do; `runs` is their folder."""
        return pending.find_pending(self.runs, runs, self.plan.probes, retry_failed=retry_failed)


def list_references(resolved: ResolvedTrial) -> Iterator[ResolvedRun]:
    """Yields the runs without training that a trial is compared with."""
    own = resolved.random_init
    yield own
    for further in resolved.further_inits:
        settings = {**own.settings, "seed": further.seed}
        yield replace(own, settings=settings, fingerprint=further.fingerprint)
    yield resolved.statistics


def prepare(study: Study, pool: Pool, console: Console) -> PreparedStudy:
    """Has a worker validate every trial. Raises `StudyError` with all problems."""
    varied = factors.build_factors(study)
    trials = design.build_trials(study, varied)
    request = _build_request(study, trials)
    problems: list[str] = []
    with progress_bar(console, f"planning {study.name}") as on_event:
        reply = pool.plan(request, on_event)
        if reply.problems:  # shared by all trials, which may have further ones
            problems += [format_problem(study.tree, problem) for problem in reply.problems]
            only_trials = PlanRequest(
                trials=request.trials, optional=request.optional, open_audio=False
            )
            reply = pool.plan(only_trials, on_event)
    problems += design.format_trial_problems(study, trials, reply.trials)
    problems += _find_missing_validation(study, reply.data)
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))
    trials = design.resolve_trials(trials, reply.trials)
    varied, trials = dedupe.merge_equal_levels(varied, trials)
    trials = dedupe.drop_idle_factors(varied, trials)
    return PreparedStudy(study, trials, design_plan.build_plan(study, varied, trials, reply))


def check_settings(study: Study, pool: Pool, console: Console) -> list[design.PlannedTrial]:
    """Has a worker validate every trial as far as possible without decoding; returns the trials.

    Raises `StudyError` with all problems.
    """
    trials = design.build_trials(study, factors.build_factors(study))
    request = replace(_build_request(study, trials), open_audio=False)
    with progress_bar(console, f"checking {study.name}") as on_event:
        reply = pool.plan(request, on_event)
    problems = [format_problem(study.tree, problem) for problem in reply.problems]
    if not problems:
        problems += design.format_trial_problems(study, trials, reply.trials)
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))
    return trials


def _build_request(study: Study, trials: Sequence[design.PlannedTrial]) -> PlanRequest:
    return PlanRequest(
        trials=tuple(trial.settings for trial in trials),
        optional=tuple(tuple(trial.inner) for trial in trials),
        probes=dict(study.probes),
        scores=design_plan.list_scores(study, trials),
        chooses_by=tuple(name for name in ("sweep", "confirm") if getattr(study, name) is not None),
        evaluate=design_plan.build_evaluate(study),
        match_budget=_build_budget_match(study),
        random_inits=study.random_inits,
    )


def _build_budget_match(study: Study) -> BudgetMatch | None:
    if study.match_budget is None:
        return None
    baseline = {**study.baseline.plain(), "seed": study.seeds[0]}
    return BudgetMatch(by=study.match_budget, baseline=baseline)


def _find_missing_validation(study: Study, data: Sequence[DataSummary]) -> Iterator[str]:
    """Finds tasks without the validation clips that `evaluate` or `confirm` needs."""
    tasks = [(name, task) for summary in data for name, task in summary.tasks.items()]
    if study.evaluate is not None and data and not any(task.valid for _, task in tasks):
        problem = "`evaluate` scores on validation clips, but no task has any"
        yield f"{study.tree.children['evaluate'].place}: {problem}; give one some, or leave it out"
    lacking = [name for name, task in tasks if not task.valid]
    if study.confirm is not None and lacking:
        names = ", ".join(dict.fromkeys(lacking))
        problem = f"`confirm` chooses by validation scores, but {names} has no validation clips"
        yield f"{study.tree.children['confirm'].place}: {problem}; give it some, or leave this out"


def apply_sweep(
    prepared: PreparedStudy,
    pool: Pool,
    folders: store.Folders,
    console: Console,
    *,
    searched: bool = False,
) -> PreparedStudy:
    """Runs the study's sweep, if it has one, and replaces its settings by the tuned ones.

    Args:
        prepared: the study as written.
        pool: workers that evaluate points of the sweep.
        folders: where runs and reports lie.
        console: where progress is shown.
        searched: a cluster has already evaluated the points.

    Raises:
        StudyError: the sweep is invalid. Also raises whatever `tuning.tune` raises.
    """
    study = prepared.study
    if study.sweep is None:
        return prepared
    from ablate.sweep import tuning

    check_sweep(prepared, pool, console)
    tuned = tuning.tune(study, prepared.plan, pool, folders, console, searched=searched)
    for line in tuning.format_results(tuned):
        print_line(console, line)
    return PreparedStudy(
        study, *tuning.plan_tuned_trials(study, prepared.plan, tuned, pool, console)
    )


def sweep_on_cluster(
    prepared: PreparedStudy,
    cluster: Cluster,
    slurm: SlurmOptions,
    folders: store.Folders,
    console: Console,
) -> bool:
    """Has a cluster evaluate the points of the sweep; returns whether none is left.

    True for a study without a sweep. Raises `SlurmError` and `SweepError`.
    """
    study = prepared.study
    if study.sweep is None:
        return True
    from ablate.sweep import slurm as sweep_slurm

    if cluster.resources.levels:
        rule = "`slurm.levels` applies only to what is trained after the sweep"
        print_line(console, f"the sweep's workers get what the profile asks for; {rule}")
    return sweep_slurm.sweep_on_cluster(
        study, prepared.plan, cluster.profile, folders, slurm, console
    )


def check_sweep(prepared: PreparedStudy, pool: Pool, console: Console) -> None:
    """Validates the study's sweep and prints what it tunes. Raises as `tuning.check_sweep`."""
    from ablate.sweep import tuning

    tuning.check_sweep(prepared.study, prepared.plan, pool, console)
    for line in tuning.describe_sweep(prepared.study, prepared.plan):
        print_line(console, line)
