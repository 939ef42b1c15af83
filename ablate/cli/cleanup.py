"""Commands `cancel`, `retry` and `clean`: cancel jobs, release failures, delete unused runs."""

import itertools
from typing import Annotated

import typer

from ablate.cli.options import (
    StudyName,
    Yes,
    fail,
    failing_on_value_error,
    find_plans,
    get_study_name,
    load_plan,
    load_plan_unless_submitted,
    print_lines,
)
from ablate.core.records.run import FAILURE_KINDS

KINDS = (*FAILURE_KINDS, "failed")  # `failed` means all kinds


def cancel(name: StudyName, yes: Yes = False) -> None:
    """Cancel a study's queued and running jobs on a cluster, with those of its sweep and clips."""
    from ablate.runs import store
    from ablate.slurm import command_array, commands, monitor, submissions
    from ablate.slurm import queue as slurm_queue

    plan, folders = load_plan_unless_submitted(name), store.get_folders()
    try:
        with failing_on_value_error():
            jobs = monitor.find_queued_jobs(plan, folders) if plan else {}
            home = submissions.get_folder(folders.reports, get_study_name(name))
            canaries = submissions.find_queued_canaries(home)
            arrays = command_array.find_all_queued(folders.reports, get_study_name(name))
        print_lines(f"  {folder.name}  job {job.job_id}" for folder, job in jobs.items())
        print_lines(f"  canary  job {canary.job_id}" for canary in canaries)
        counts = {"runs": len(jobs), "canaries": len(canaries)}
        for title, array in arrays.items():
            print_lines(f"  {title}  job {job.job_id}" for job in array)
            counts[f"{title}s"] = len(array)
        counted = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
        if not counted:
            typer.echo("this study has no queued jobs")
        elif yes or typer.confirm(f"cancel these {counted}?"):
            others = itertools.chain.from_iterable(arrays.values())
            slurm_queue.cancel_jobs([*jobs.values(), *canaries, *others])
            typer.echo(f"cancelled {counted}; their checkpoints are kept")
    except commands.SlurmError as error:
        fail(str(error))


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
    """Reset failed runs of a study, so that the next `ablate run` tries them again."""
    from ablate.core.suggest import did_you_mean
    from ablate.runs import store
    from ablate.slurm import monitor

    for kind in kinds or ():
        if kind not in KINDS:
            near = did_you_mean(kind, KINDS)
            fail(f"unknown kind of failure `{kind}`{near}: it is one of {', '.join(KINDS)}")
    all_kinds = not kinds or "failed" in kinds
    plan = load_plan(name)
    with failing_on_value_error():
        lines = monitor.reset_failed_runs(
            plan, store.get_folders().runs, [] if all_kinds else kinds or []
        )
        unfinished = monitor.count_unfinished(plan, store.get_folders().runs)
    print_lines(lines)
    if lines or not unfinished:
        typer.echo(f"{len(lines)} runs will be tried again when the study is next run")
    else:
        resume = monitor.get_resume_command(plan)
        typer.echo(f"no run has failed; {unfinished} have not ended, to run them: {resume}")


def clean(
    yes: Yes = False,
    done: Annotated[bool, typer.Option("--done", help="Also delete finished runs.")] = False,
) -> None:
    """Delete runs that belong to no study with a report folder. Finished runs are kept."""
    from ablate.runs import cleanup, store
    from ablate.slurm import monitor
    from ablate.sweep import recovery

    folders = store.get_folders()
    plans = [load_plan(study) for study in find_plans()]
    with failing_on_value_error():
        swept = recovery.find_sweep_runs(
            folders.runs, [path.name for path in folders.reports.glob("*/")]
        )
        needed = [*swept, *monitor.find_queued_folders(folders)]
        unused = cleanup.find_unused_runs(plans, folders.runs, done=done, besides=needed)
    print_lines(
        f"  {run.folder.name}  {run.state}  {cleanup.format_bytes(run.bytes)}" for run in unused
    )
    if not unused:
        typer.echo(f"no unused runs in {folders.runs}")
    elif yes or typer.confirm(f"delete these {len(unused)} run folders?"):
        kept = cleanup.delete_runs(unused)
        print_lines(f"  kept {folder.name}: it is running" for folder in kept)
        typer.echo(f"deleted {len(unused) - len(kept)} run folders")
