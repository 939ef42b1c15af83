"""The verbs that look at what there is, and change nothing.

With one exception: where a job has left the queue without a word, `status` writes down how its run
ended.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from ablate.cli.options import (
    Compared,
    Json,
    RunName,
    plan_named,
    plan_or_crew,
    refuse,
    refusing,
    run_folder,
    saved_plan,
    saved_plans,
    say,
    study_name,
)

POLL_SECONDS = 2.0
Idle = Annotated[
    float,
    typer.Option(min=0, help="Seconds in which nothing runs, after which to watch no longer."),
]


def status(
    name: Annotated[
        str | None, typer.Argument(help="A study, by name or file. Default: all.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until all runs have ended.")
    ] = False,
    idle: Idle = 120.0,
    as_json: Json = False,
) -> None:
    """Show the progress of a study, from its saved plan and its run folders."""
    from ablate.runs import status as run_status
    from ablate.runs import store
    from ablate.slurm import monitor, sweep_workers

    runs, reports = store.get_folders().runs, store.get_folders().reports
    here = sorted({*saved_plans(), *sweep_workers.studies(reports)})
    studies = [study_name(name)] if name is not None else here
    if not studies and not as_json:
        typer.echo("no study has been run here; to run one: ablate run FILE")
        return
    vigil = monitor.Vigil(idle)
    try:
        while True:
            found = {study: plan_or_crew(study) for study in studies}
            plans = [plan for plan in found.values() if plan is not None]
            if as_json:
                typer.echo(json.dumps([run_status.collect_states(plan, runs) for plan in plans]))
            else:
                for study, plan in found.items():
                    say(_progress(study, plan))
            left = [plan for plan in plans if run_status.is_unfinished(plan, runs)]
            swept = watch and any(
                sweep_workers.may_be_queued(sweep_workers.folder_of(reports, s)) for s in studies
            )
            if not (swept or (watch and left)):
                return
            every = [folder for plan in plans for folder in store.run_folders(plan, runs)]
            if not swept and vigil.look(every):
                if not as_json:
                    typer.echo(vigil.words(left))
                return
            time.sleep(POLL_SECONDS)
            if not as_json:
                click.clear()
    except ValueError as error:
        refuse(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _progress(study: str, plan: dict[str, Any] | None) -> Iterator[str]:
    """Says how far the runs of a plan are, and who is in the queue for it."""
    from ablate.runs import status as run_status
    from ablate.runs import store
    from ablate.slurm import monitor, sweep_workers

    folders = store.get_folders()
    if plan is None:
        yield f"{study}: its sweep was handed to a cluster; once it is over, run the study again"
    else:
        yield from run_status.format_status(plan, folders.runs)
        yield from monitor.queue(plan, folders.runs)
    yield from sweep_workers.queue(sweep_workers.folder_of(folders.reports, study))


def logs(
    fingerprint: RunName,
    lines: Annotated[int | None, typer.Option("-n", min=1, help="Only the last lines.")] = None,
    follow: Annotated[bool, typer.Option("-f", help="Follow until the run has ended.")] = False,
    idle: Idle = 120.0,
) -> None:
    """Print the log of a run's last attempt."""
    from ablate.runs import logs as run_logs

    folder = run_folder(fingerprint)
    if follow:
        _follow(folder, lines, idle)
        return
    if run_logs.find_log(folder) is None:
        refuse(f"{folder} has no log yet")
    text = run_logs.read_log(folder)
    say(text[-lines:] if lines else text)


def _follow(folder: Path, lines: int | None, idle: float) -> None:
    from ablate.runs import logs as run_logs
    from ablate.runs import store
    from ablate.slurm import monitor

    vigil = monitor.Vigil(idle)
    try:
        with refusing():
            for line in run_logs.follow_log(folder, lines, given_up=lambda: vigil.look([folder])):
                typer.echo(line)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if vigil.is_over:
        plans = [saved_plan(study) for study in saved_plans()]
        of = [plan for plan in plans if folder in store.run_folders(plan, folder.parent)]
        typer.echo(vigil.words(of))


def compare(one: Compared, other: Compared, as_json: Json = False) -> None:
    """Show which variants moved by more than noise between two studies, or two plans of one."""
    from ablate.executors.progress import create_console
    from ablate.report import results
    from ablate.report.stats import study_diff
    from ablate.runs import store

    runs = store.get_folders().runs
    try:
        first, second = (results.read_results(plan_named(name), runs) for name in (one, other))
        table = study_diff.build_comparison_table(first, second)
    except ValueError as error:
        refuse(str(error))
    if as_json:
        typer.echo(json.dumps({"caption": table.caption, "rows": table.rows}, ensure_ascii=False))
        return
    console = create_console()
    console.print(table.to_rich(console.width))
    typer.echo(table.caption)


def why_different(one: RunName, other: RunName) -> None:
    """Show the settings in which two runs differ."""
    from ablate.core.records.run import RunConfig
    from ablate.runs import status as run_status
    from ablate.runs import store

    folders = run_folder(one), run_folder(other)
    with refusing():
        first, second = (RunConfig.read(folder / store.CONFIG_FILE) for folder in folders)
    found = run_status.format_changes(
        {"kind": first.kind, **first.settings}, {"kind": second.kind, **second.settings}
    )
    typer.echo(f"{folders[0].name} -> {folders[1].name}: {len(found)} settings differ")
    say(f"  {line}" for line in found)


def show(
    run: Annotated[str | None, typer.Argument(help="A fingerprint or a prefix of one.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files, for an editor.")
    ] = False,
    package: Annotated[
        list[str] | None, typer.Option(help="With --schema: include the parts of this package.")
    ] = None,
) -> None:
    """Show all settings and the record of a run; or, with --schema, the keys of a study."""
    if schema:
        from ablate.cli import json_schema

        raise typer.Exit(json_schema.show(["maskers", *(package or [])]))
    if run is None:
        refuse("name a run, or pass --schema")
    from ablate.core.records.run import RunConfig, RunRecord
    from ablate.runs import store
    from ablate.runs.record import RECORD_FILE

    folder = run_folder(run)
    with refusing():
        config = RunConfig.read(folder / store.CONFIG_FILE)
        record = RunRecord.find(folder / RECORD_FILE)
    found = {"config": config.to_json(), "run": None if record is None else record.to_json()}
    typer.echo(json.dumps({"folder": str(folder), **found}, indent=2, ensure_ascii=False))
