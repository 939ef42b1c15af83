"""The verbs that undo: they cancel jobs, release failed runs, and delete orphaned ones."""

from typing import Annotated

import typer

from ablate.cli.options import (
    StudyName,
    Yes,
    plan_or_crew,
    refuse,
    refusing,
    saved_plan,
    saved_plans,
    say,
    study_name,
)
from ablate.core.records.run import FAILURE_KINDS

KINDS = (*FAILURE_KINDS, "failed")  # the last one stands for all


def cancel(name: StudyName, yes: Yes = False) -> None:
    """Take a study's jobs, and the workers of its sweep, out of a cluster's queue."""
    from ablate.runs import store
    from ablate.slurm import commands, monitor, sweep_workers
    from ablate.slurm import queue as slurm_queue

    plan, folders = plan_or_crew(name), store.get_folders()
    try:
        with refusing():
            jobs = monitor.queued(plan, folders.runs) if plan else {}
            workers = sweep_workers.crew(sweep_workers.folder_of(folders.reports, study_name(name)))
        say(f"  {folder.name}  job {job.job}" for folder, job in jobs.items())
        say(f"  a sweep's worker  job {worker.job}" for worker in workers)
        counts = {"runs": len(jobs), "sweep workers": len(workers)}
        counted = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
        if not counted:
            typer.echo("this study has no queued jobs")
        elif yes or typer.confirm(f"cancel these {counted}?"):
            slurm_queue.cancel([*jobs.values(), *workers])
            typer.echo(f"cancelled {counted}; their checkpoints are kept")
    except commands.RefusedError as error:
        refuse(str(error))


def retry(
    name: StudyName,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            help=(
                f"Only these kinds of failure: {', '.join(FAILURE_KINDS)}. Default: all (`failed`)."
            ),
            metavar="KIND",
        ),
    ] = None,
) -> None:
    """Release failed runs of a study, to be tried again when it is next run."""
    from ablate.core.suggest import did_you_mean
    from ablate.runs import store
    from ablate.slurm import monitor

    for kind in kinds or ():
        if kind not in KINDS:
            near = did_you_mean(kind, KINDS)
            refuse(f"unknown kind of failure `{kind}`{near}: it is one of {', '.join(KINDS)}")
    every = not kinds or "failed" in kinds
    plan = saved_plan(name)
    with refusing():
        lines = monitor.release(plan, store.get_folders().runs, [] if every else kinds or [])
    say(lines)
    typer.echo(f"{len(lines)} runs will be tried again when the study is next run")


def clean(
    yes: Yes = False,
    done: Annotated[bool, typer.Option("--done", help="Also delete finished runs.")] = False,
) -> None:
    """Delete orphaned runs, of no study that has a report folder. Finished ones are kept."""
    from ablate.runs import cleanup, store
    from ablate.sweep import recovery

    folders = store.get_folders()
    plans = [saved_plan(study) for study in saved_plans()]
    with refusing():
        swept = recovery.find_sweep_runs(
            folders.runs, [path.name for path in folders.reports.glob("*/")]
        )
        found = cleanup.find_unused_runs(plans, folders.runs, done=done, besides=swept)
    say(f"  {one.folder.name}  {one.state}  {cleanup.format_bytes(one.bytes)}" for one in found)
    if not found:
        typer.echo(f"no orphaned runs in {folders.runs}")
    elif yes or typer.confirm(f"delete these {len(found)} run folders?"):
        kept = cleanup.delete_runs(found)
        say(f"  kept {folder.name}: it is running" for folder in kept)
        typer.echo(f"deleted {len(found) - len(kept)} run folders")
