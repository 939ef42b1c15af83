"""Commands that plan and run a study, and write or publish its report."""

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import (
    Force,
    Json,
    Overrides,
    Ranks,
    StudyFile,
    StudyName,
    Workers,
    fail,
    get_study_name,
    is_study_file,
    load_plan,
)


def run(
    file: StudyFile,
    overrides: Overrides = None,
    workers: Workers = None,
    ranks: Ranks = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again.")
    ] = False,
    slurm: Annotated[
        str | None, typer.Option(help="Run on the cluster of slurm/NAME.yaml.", metavar="NAME")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With --slurm: wait for the jobs and write the report.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --slurm: show the jobs, but submit nothing.")
    ] = False,
    prune_removed: Annotated[
        bool,
        typer.Option(
            "--prune-removed", help="With --slurm: cancel jobs of runs that left the study."
        ),
    ] = False,
    sweep_only: Annotated[
        bool, typer.Option("--sweep-only", help="Only evaluate points of the study's sweep.")
    ] = False,
    force: Force = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only these trials, such as masker=block seed=0, and write no report.",
            metavar="FACTOR=LEVEL",
        ),
    ] = None,
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Run one trial in this terminal, as for a debugger."),
    ] = False,
) -> None:
    """Plan a study, run missing trials and scores, and write the report."""
    from ablate.slurm.options import SlurmOptions
    from ablate.study import run as study_run
    from ablate.study import selected_trials
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    options = SlurmOptions(
        slurm, watch, dry_run, prune_removed=prune_removed, sweep_only=sweep_only
    )
    conditions, settings = only or [], overrides or []
    if only or foreground:
        more, settings = selected_trials.split_conditions(file, settings)
        conditions = [*conditions, *more]
    code = study_run.run_study(
        file,
        settings,
        workers=workers,
        ranks=ranks,
        retry_failed=retry_failed,
        force=force,
        only=conditions,
        foreground=foreground,
        slurm=options,
    )
    raise typer.Exit(code)


def plan(
    file: StudyFile,
    overrides: Overrides = None,
    as_json: Json = False,
    timed: Annotated[
        bool,
        typer.Option("--time", help="Run short trials to estimate hours and FLOPs."),
    ] = False,
    workers: Workers = None,
) -> None:
    """Check a study and show what it would run. Only --time runs anything: short trials."""
    from ablate.study import run as study_run
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(
        study_run.plan_study(file, overrides or [], as_json=as_json, timed=timed, workers=workers)
    )


def prepare(
    file: StudyFile,
    overrides: Overrides = None,
    slurm: Annotated[
        str | None,
        typer.Option(help="Decode in jobs on the cluster of slurm/NAME.yaml.", metavar="NAME"),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="With --slurm: number of jobs that share the clips.")
    ] = 8,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --slurm: show the jobs, but submit nothing.")
    ] = False,
) -> None:
    """Decode the audio of a study ahead of time, on all cores or in several jobs.

    `ablate plan` and `ablate run` do the same if it was not done before. An interrupted call, or
    job, goes on where it ended. A profile's GPUs are not requested.
    """
    from ablate.slurm.options import SlurmOptions
    from ablate.study.corpora import prepare_corpora
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    options = SlurmOptions(slurm, dry_run=dry_run)
    raise typer.Exit(prepare_corpora(file, overrides or [], slurm=options, num_jobs=jobs))


def report(
    name: StudyName,
    overrides: Overrides = None,
    force: Force = False,
    as_json: Json = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print the main table for a paper, in LaTeX.")
    ] = False,
) -> None:
    """Write a study's report again from the files on disk, without running anything."""
    from rich.console import Console

    from ablate.core.records.findings import FINDINGS_FILE
    from ablate.report.pages.latex import read_main_table
    from ablate.runs import store
    from ablate.study import run as study_run
    from ablate.study.exit_codes import DONE, interrupt_on_signals

    if as_json and latex:
        fail("--json and --latex both print to standard output; give one of them")
    interrupt_on_signals()
    console, study = Console(stderr=True) if as_json or latex else None, get_study_name(name)
    if is_study_file(name):
        file, settings = Path(name), overrides or []
        code = study_run.report_study(file, settings, force=force, console=console)
        study = study_run.get_report_name(file, settings) if code == DONE else study
    else:
        study = load_plan(name).study
        code = study_run.report_saved_plan(study, force=force, console=console)
    folder = store.get_folders().reports / study
    if as_json and code == DONE:
        typer.echo((folder / FINDINGS_FILE).read_text().rstrip())
    if latex and code == DONE:
        typer.echo(read_main_table(folder / "tables"))
    raise typer.Exit(code)


def publish(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of studies, or their YAML files.", metavar="STUDY"),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the published reports.")] = Path(
        "studies/results"
    ),
    gallery: Annotated[
        bool, typer.Option(help="Include the mask gallery (its images show your audio).")
    ] = True,
) -> None:
    """Copy reports to the folder of published reports, and list all of them on its page."""
    from ablate.core.io import write_atomically
    from ablate.report.pages import publish as page_publish
    from ablate.runs import store

    try:
        for name in map(get_study_name, names or []):
            report = store.get_folders().reports / name
            page_publish.publish_report(report, results / name, include_gallery=gallery)
            typer.echo(f"wrote {results / name}")
        kept = sorted(path for path in results.iterdir() if path.is_dir())
        page = results / page_publish.RESULTS_PAGE
        write_atomically(page, page_publish.write_results_page(kept, results))
        typer.echo(f"wrote {page}: {', '.join(path.name for path in kept)}")
    except (ValueError, OSError) as error:
        fail(str(error))


def followup(
    file: StudyFile,
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Number of fresh seeds. By default, what the report asks for."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="File to write. By default, NAME_followup.yaml.")
    ] = None,
) -> None:
    """Write a study that repeats another on fresh seeds, to decide what it left undecided."""
    from ablate.config.study import StudyError
    from ablate.study.followup import write_followup

    try:
        written, fresh = write_followup(Path(file), to=to, num_seeds=seeds)
    except (StudyError, ValueError) as error:
        fail(str(error))
    typer.echo(f"wrote {written} with the fresh seeds {fresh[0]} to {fresh[-1]}")
    typer.echo(f"next: ablate plan {written}")
