"""Runs, plans or reports a study, from its file to its report."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ablate.config import loader
from ablate.config.study import Study, StudyError
from ablate.core.nested import find_parts
from ablate.core.records.plan import StudyPlan, get_plan_file
from ablate.executors.local import Pool
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.runs import preview, store
from ablate.slurm.executor import Cluster
from ablate.slurm.options import LOCAL, SlurmOptions, create_cluster
from ablate.study import (
    cluster_jobs,
    dry_run,
    estimate,
    notification,
    replacement,
    report_writing,
    seed_rounds,
    selected_trials,
)
from ablate.study.code_watch import CodeWatch
from ablate.study.corpora import check_decoding_jobs
from ablate.study.exit_codes import DONE, FAILED, INTERRUPTED, OVER, WRONG, run_with_exit_code
from ablate.study.folder_checks import check_path_lengths
from ablate.study.gallery import draw_gallery
from ablate.study.prepare import PreparedStudy, apply_sweep, check_sweep, prepare, sweep_on_cluster

__all__ = ["DONE", "FAILED", "INTERRUPTED", "OVER", "WRONG", "PreparedStudy", "prepare"]


def run_study(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    workers: int | None = None,
    ranks: int = 1,
    retry_failed: bool = False,
    force: bool = False,
    only: Sequence[str] = (),
    foreground: bool = False,
    slurm: SlurmOptions = LOCAL,
    command: Sequence[str] = COMMAND,
    console: Console | None = None,
) -> int:
    """Runs a study from its file to its report; finished work is not repeated.

    Args:
        file: the study file.
        overrides: settings that replace those of the file, as `baseline.budget.steps=100`.
        workers: how many trials are trained at once; by default one per GPU, or per CPU core.
        ranks: processes that train one trial together, each with its own GPU.
        retry_failed: runs trials again that failed in an earlier session.
        force: replaces a report that has more finished trials, too.
        only: conditions, as `masker=block`; only trials that fit are run, and no report is written.
        foreground: runs the one trial that is selected in this terminal.
        slurm: options of the command line for a cluster; by default the study runs on this machine.
        command: the command that starts a worker.

    Returns:
        The exit code, one of `ablate.study.exit_codes`.
    """
    console, folders = console or create_console(), store.get_folders()
    started: list[tuple[str, str]] = []  # unless a cluster goes on with it: study, notified target

    def run() -> int:
        check_path_lengths(folders)
        study = _load(file, overrides, folders, console)
        target = notification.get_target(study)
        cluster = create_cluster(study, slurm, folders)
        if cluster is not None and not slurm.dry_run:
            check_decoding_jobs(study.name, folders)
        with Pool(folders.cache, size=workers, ranks=ranks, command=command) as pool:
            prepared = prepare(study, pool, console)
            if cluster is not None and not sweep_on_cluster(
                prepared, cluster, slurm, folders, console
            ):
                return DONE
            prepared = apply_sweep(prepared, pool, folders, console, searched=cluster is not None)
            if slurm.sweep_only:
                return DONE
            if cluster is not None:
                cluster.resources.check_runs(prepared.runs)
            seed_rounds.check_limits(prepared, folders, retry_failed=retry_failed)
            if not (force or only or foreground):
                replacement.check_plan(prepared.plan, folders.reports)
            if cluster is not None and slurm.dry_run:
                cluster_jobs.show_jobs(
                    prepared, cluster, folders, console, retry_failed=retry_failed
                )
                return DONE
            if cluster is not None and slurm.prune_removed:
                cluster_jobs.cancel_removed(prepared, folders, console)
            runner = pool if cluster is None else cluster
            work = _create_work(
                prepared, runner, slurm, folders, console, retry_failed=retry_failed
            )
            if only or foreground:
                return selected_trials.run_selected(
                    prepared, only, work, folders, console, foreground=foreground
                )
            prepared = draw_gallery(prepared, pool, folders, console)
            started.append((study.name, target))
            failed = seed_rounds.train(prepared, folders, console, work, force=force)
            if failed is None:
                started.clear()
            return FAILED if failed else DONE

    code = run_with_exit_code(run, resume_command=["ablate", "run", str(file), *overrides])
    for name, target in started:
        notification.notify(target, name, code, folders.reports, console)
    return code


def plan_study(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    as_json: bool = False,
    timed: bool = False,
    workers: int | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Validates a study and prints what it would run, without running it.

    Args:
        file: the study file.
        overrides: settings that replace those of the file.
        as_json: prints the plan as JSON.
        timed: trains short trials in a temporary folder to estimate the hours.
        workers: how many workers the estimate is for.
        command: the command that starts a worker.

    Returns:
        The exit code, one of `ablate.study.exit_codes`.
    """
    console, folders = Console(stderr=True) if as_json else create_console(), store.get_folders()

    def plan() -> int:
        check_path_lengths(folders)
        study = loader.load(file, overrides)
        with Pool(folders.cache, size=workers if timed else 1, command=command) as pool:
            prepared = prepare(study, pool, console)
            if study.sweep is not None:
                check_sweep(prepared, pool, console)
            current = seed_rounds.current_plan(prepared, folders)
            work = current.find_pending(folders.runs)
            costs = dry_run.measure_costs(current, work, pool, console) if timed else []
            cost_lines = dry_run.format_costs(costs, pool.size) if timed else []
            precision_lines = estimate.format_precision(current.plan, pool.num_gpus)
        hours = sum(cost.hours + cost.reference_hours for cost in costs) if timed else None
        if as_json:
            timings = {"canaries": [asdict(cost) for cost in costs]} if timed else {}
            content = {**current.plan.to_json(), "backlog": work.counts(), **timings}
            sys.stdout.write(json.dumps(content) + "\n")
        lines = (
            *preview.format_summary(current.plan, work),
            *preview.format_preview(current.plan, folders.runs),
            *preview.format_code_warnings(current.plan, folders.runs),
            *estimate.format_estimate(current.plan, work, folders.runs),
            *estimate.format_confirmation_power(prepared.study.confirm, current.plan),
            *precision_lines,
            *cost_lines,
        )
        for line in () if as_json else lines:
            print_line(console, line)
        seed_rounds.check_limits(prepared, folders, hours=hours)
        return DONE

    return run_with_exit_code(plan, resume_command=["ablate", "plan", str(file), *overrides])


def report_study(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    force: bool = False,
    command: Sequence[str] = COMMAND,
    console: Console | None = None,
) -> int:
    """Plans a study anew and writes its report from the runs on disk; returns the exit code.

    With `force`, a report that has more finished trials is replaced, too.
    """
    console, folders = console or create_console(), store.get_folders()

    def report() -> int:
        check_path_lengths(folders)
        study = _load(file, overrides, folders, console)
        if study.sweep is not None:  # only the saved plan has the tuned settings
            return report_saved_plan(study.name, force=force, console=console)
        with Pool(folders.cache, size=1, command=command) as pool:
            prepared = prepare(study, pool, console)
            if not force:
                replacement.check_plan(prepared.plan, folders.reports)
            prepared = draw_gallery(prepared, pool, folders, console)
        current = seed_rounds.current_plan(prepared, folders)
        current = seed_rounds.with_confirmation(current, prepared, folders)
        if not force:
            replacement.check_results(current.plan, folders)
        seed_rounds.save_plan(current, folders)
        report_writing.write_report(current.plan, folders, console, force=True)
        return DONE

    return run_with_exit_code(report, resume_command=["ablate", "report", str(file), *overrides])


def get_report_name(file: Path, overrides: Sequence[str]) -> str:
    """Returns the name under which a study with these settings is reported."""
    return loader.load(file, overrides).name


def report_saved_plan(name: str, *, force: bool = False, console: Console | None = None) -> int:
    """Writes a study's report from its saved plan and the runs on disk; returns the exit code.

    With `force`, a report that has more finished trials is replaced, too.
    """
    folders = store.get_folders()

    def report() -> int:
        plan = StudyPlan.find(get_plan_file(folders.reports, name))
        if plan is None:
            problem = f"{folders.reports / name} holds no plan.json"
            raise StudyError([f"{problem}; run the study, or name its file"])
        report_writing.write_report(plan, folders, console or create_console(), force=force)
        return DONE

    return run_with_exit_code(report, resume_command=["ablate", "report", name])


def _create_work(
    prepared: PreparedStudy,
    runner: Pool | Cluster,
    slurm: SlurmOptions,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> seed_rounds.Work:
    """Creates the function that runs what a study lacks, once per round of seeds."""
    retries = iter([retry_failed])  # what fails again in this session is not retried
    watch = CodeWatch(find_parts([trial.settings for trial in prepared.trials]))

    def work(current: PreparedStudy) -> bool | None:
        retry = next(retries, False)
        if not isinstance(runner, Pool) and not slurm.watch:
            return cluster_jobs.submit_pending(
                current, runner, folders, console, retry_failed=retry
            )
        failed = seed_rounds.run_pending(current, runner, folders, console, retry_failed=retry)
        if isinstance(runner, Pool) and (changes := watch.describe_changes()):
            print_line(console, changes)
        return failed

    return work


def _load(file: Path, overrides: Sequence[str], folders: store.Folders, console: Console) -> Study:
    """Loads a study, and says where its report goes if settings were replaced."""
    study = loader.load(file, overrides)
    if study.is_try:
        place = folders.reports / study.name
        print_line(console, f"settings replaced: the report is {place}; or name it: study=NAME")
    return study
