"""The verbs that take something back: jobs in a queue, a failure, runs that nothing refers to."""

from typing import Annotated

import typer

from ablate.verbs.asked import StudyName, Yes, refuse, saved_plan, saved_plans, say


def cancel(name: StudyName, yes: Yes = False) -> None:
    """Take a study's jobs out of a cluster's queue."""
    from ablate.launching import attendance, commands, ledger, queueing

    try:
        jobs = attendance.queued(saved_plan(name), ledger.folders().runs)
        say(f"  {folder.name}  job {job.job}" for folder, job in jobs.items())
        if not jobs:
            typer.echo("nothing of it is in the queue")
        elif yes or typer.confirm(f"cancel these {len(jobs)} runs?"):
            queueing.cancel(jobs.values())
            typer.echo(f"cancelled {len(jobs)} runs; what they saved is kept")
    except commands.RefusedError as error:
        refuse(str(error))


def retry(
    name: StudyName,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(help="Only such failures: oom, nan, timeout, node, error; failed: all."),
    ] = None,
) -> None:
    """Let failed runs of a study be tried again."""
    from ablate.launching import attendance, ledger
    from ablate.suggestion import did_you_mean

    for kind in kinds or ():
        if kind not in (*ledger.FAILURES, "failed"):
            known = did_you_mean(kind, (*ledger.FAILURES, "failed"))
            refuse(f"there is no failure of kind `{kind}`{known}")
    every = not kinds or "failed" in kinds
    lines = attendance.release(
        saved_plan(name), ledger.folders().runs, [] if every else kinds or []
    )
    say(lines)
    typer.echo(f"{len(lines)} runs will be tried again when the study is run")


def clean(
    yes: Yes = False,
    done: Annotated[bool, typer.Option("--done", help="Also runs that are done.")] = False,
) -> None:
    """Delete run folders of no study that has a report folder. Those that are done are kept."""
    from ablate.launching import ledger, tidiness
    from ablate.sweeping import memory

    folders = ledger.folders()
    plans = [saved_plan(study) for study in saved_plans()]
    swept = memory.runs_of(folders.runs, [path.name for path in folders.reports.glob("*/")])
    found = tidiness.unwanted(plans, folders.runs, done=done, besides=swept)
    say(f"  {one.folder.name}  {one.state}  {tidiness.size(one.bytes)}" for one in found)
    if not found:
        typer.echo(f"nothing in {folders.runs} is without a study")
    elif yes or typer.confirm(f"delete these {len(found)} run folders?"):
        kept = tidiness.delete(found)
        say(f"  kept {folder.name}: it is being run" for folder in kept)
        typer.echo(f"deleted {len(found) - len(kept)} run folders")
