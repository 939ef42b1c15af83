"""Commands that show studies, runs and logs without changing anything.

One exception: if a job has left the queue without recording its end, `status` records it.
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.options import (
    Conditions,
    Json,
    RunName,
    RunOrStudy,
    StudyOrPlan,
    fail,
    failing_on_value_error,
    find_plans,
    find_report_folder,
    find_run_folder,
    get_study_name,
    load_plan,
    load_plan_unless_submitted,
    load_study_or_plan,
    print_lines,
)

if TYPE_CHECKING:
    from ablate.core.records.plan import StudyPlan
    from ablate.slurm.monitor import IdleTimeout

POLL_SECONDS = 2.0
Idle = Annotated[
    float,
    typer.Option(min=0, help="Stop watching after this many idle seconds."),
]


def status(
    name: Annotated[
        str | None, typer.Argument(help="Name of a study, or its YAML file. Default: all studies.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh the output until all runs have ended.")
    ] = False,
    idle: Idle = 120.0,
    as_json: Json = False,
) -> None:
    """Show the progress of studies from their saved plans and run folders."""
    from ablate.executors.progress import create_console
    from ablate.runs import store
    from ablate.slurm import command_array, monitor

    saved = sorted({*find_plans(), *command_array.find_studies(store.get_folders().reports)})
    studies = [get_study_name(name)] if name is not None else saved
    if not studies and not as_json:
        typer.echo("no study has been run here; to run one: ablate run FILE")
        return
    idle_timeout = monitor.IdleTimeout(idle)
    try:
        with failing_on_value_error():
            plans = _show_progress(studies, as_json)
            while watch and _may_change(studies, plans, idle_timeout, as_json):
                time.sleep(POLL_SECONDS)
                if not as_json:
                    create_console().clear()  # does nothing unless stdout is a terminal
                plans = _show_progress(studies, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _show_progress(studies: Sequence[str], as_json: bool) -> list["StudyPlan"]:
    """Prints the states of all runs; returns the saved plans."""
    from ablate.runs import status as run_status
    from ablate.runs import store

    by_study = {study: load_plan_unless_submitted(study) for study in studies}
    plans = [plan for plan in by_study.values() if plan is not None]
    if as_json:
        runs = store.get_folders().runs
        typer.echo(json.dumps([run_status.collect_states(plan, runs) for plan in plans]))
        return plans
    for study, plan in by_study.items():
        print_lines(_progress(study, plan))
    return plans


def _may_change(
    studies: Sequence[str],
    plans: Sequence["StudyPlan"],
    idle_timeout: "IdleTimeout",
    as_json: bool,
) -> bool:
    """Returns whether a run or a sweep may still make progress; says so if all have stalled."""
    from ablate.runs import status as run_status
    from ablate.runs import store
    from ablate.slurm import command_array

    runs, reports = store.get_folders().runs, store.get_folders().reports
    arrays = itertools.product(studies, command_array.KINDS)
    folders = (command_array.get_folder(reports, *array) for array in arrays)
    if any(map(command_array.may_be_queued, folders)):
        return True
    left = [plan for plan in plans if run_status.is_unfinished(plan, runs)]
    own = [folder for plan in plans for folder in store.list_run_folders(plan, runs)]
    has_stalled = bool(left) and idle_timeout.update(own)
    if has_stalled and not as_json:
        typer.echo(idle_timeout.format_message(left))
    return bool(left) and not has_stalled


def _progress(study: str, plan: "StudyPlan | None") -> Iterator[str]:
    """Yields lines on the states of a plan's runs, and on its jobs in the queue."""
    from ablate.runs import status as run_status
    from ablate.runs import store
    from ablate.slurm import command_array, monitor

    folders = store.get_folders()
    if plan is None:
        yield from command_array.describe_jobs(folders.reports, study)
        return
    queue = monitor.reconcile_study(plan, folders)
    queued = {folder.name: str(run) for folder, run in queue.runs.items()}
    yield from run_status.format_status(plan, folders.runs, queued)
    yield from queue.problems
    yield from command_array.describe_queue(folders.reports, study)


def logs(
    name: RunOrStudy,
    conditions: Conditions = None,
    lines: Annotated[
        int | None, typer.Option("-n", min=1, help="Print only the last N lines.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", help="Follow the log until the run has ended.")
    ] = False,
    idle: Idle = 120.0,
    as_json: Json = False,
) -> None:
    """Print the log of a run's last attempt."""
    from ablate.runs import logs as run_logs
    from ablate.runs import store

    folder = find_run_folder(name, conditions)
    if follow and as_json:
        fail("-f follows the log as text; leave out --json")
    if follow:
        _follow(folder, lines, idle)
        return
    if run_logs.find_log(folder) is None:
        fail(f"{folder} has no log yet")
    text = run_logs.read_log(folder)
    printed = text[-lines:] if lines else text
    if as_json:
        state = store.read_status(folder).state
        typer.echo(json.dumps({"run": folder.name, "state": state, "lines": printed}))
        return
    print_lines(printed)


def _follow(folder: Path, lines: int | None, idle: float) -> None:
    from ablate.runs import logs as run_logs
    from ablate.runs import store
    from ablate.slurm import monitor

    idle_timeout = monitor.IdleTimeout(idle)
    try:
        with failing_on_value_error():
            for line in run_logs.follow_log(
                folder, lines, is_abandoned=lambda: idle_timeout.update([folder])
            ):
                typer.echo(line)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if idle_timeout.has_expired:
        plans = [load_plan(study) for study in find_plans()]
        affected = [plan for plan in plans if folder in store.list_run_folders(plan, folder.parent)]
        typer.echo(idle_timeout.format_message(affected))


def compare(
    first: StudyOrPlan,
    second: StudyOrPlan,
    as_json: Json = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write both reports side by side as an HTML page.")
    ] = None,
) -> None:
    """Show which variants changed by more than noise between two studies, or two saved plans."""
    from ablate.executors.progress import create_console
    from ablate.report import results
    from ablate.report.stats import study_diff
    from ablate.runs import store

    runs = store.get_folders().runs
    try:
        before, after = (
            results.read_results(load_study_or_plan(name), runs) for name in (first, second)
        )
        table = study_diff.build_comparison_table(before, after)
        if html is not None:
            from ablate.report.pages.comparison import write_comparison_page
            from ablate.report.pages.findings import read_findings

            one, other = (read_findings(find_report_folder(name)) for name in (first, second))
            write_comparison_page(html, one, other, table)
    except ValueError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps({"caption": table.caption, "rows": table.rows}, ensure_ascii=False))
        return
    console = create_console()
    console.print(table.to_rich(console.width))
    typer.echo(table.caption)
    if html is not None:
        typer.echo(f"\n{html}")


def why_different(first: RunName, second: RunName, as_json: Json = False) -> None:
    """Show the settings that differ between two runs."""
    from ablate.config.tree import find_differences
    from ablate.core.records.run import CONFIG_FILE, RunConfig
    from ablate.runs import preview

    folders = find_run_folder(first), find_run_folder(second)
    with failing_on_value_error():
        before, after = (RunConfig.read(folder / CONFIG_FILE) for folder in folders)
    one, other = ({"kind": config.kind, **config.settings} for config in (before, after))
    if as_json:
        names = [folder.name for folder in folders]
        typer.echo(json.dumps({"runs": names, "differences": find_differences(one, other)}))
        return
    changes = preview.format_changes(one, other)
    typer.echo(f"{folders[0].name} -> {folders[1].name}: {len(changes)} settings differ")
    print_lines(f"  {line}" for line in changes)


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Fingerprint of a run, or its first characters; or a study, with conditions.",
            metavar="RUN",
        ),
    ] = None,
    conditions: Conditions = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files, for editors.")
    ] = False,
    package: Annotated[
        list[str] | None, typer.Option(help="With --schema: include the parts of this package.")
    ] = None,
    as_json: Json = True,
) -> None:
    """Show the settings and the record of a run; with --schema, the schema of study files."""
    if schema:
        from ablate.cli import json_schema

        raise typer.Exit(json_schema.show_schema(["maskers", *(package or [])]))
    if name is None:
        fail("name a run, or pass --schema")
    from ablate.core.records.run import CONFIG_FILE, RunConfig, RunRecord
    from ablate.runs.record import read_record

    folder = find_run_folder(name, conditions)
    with failing_on_value_error():
        config = RunConfig.read(folder / CONFIG_FILE)
        record = read_record(folder)
    run = None if record == RunRecord() else record.to_json()
    content = {"config": config.to_json(), "run": run}
    typer.echo(json.dumps({"folder": str(folder), **content}, indent=2, ensure_ascii=False))
