"""The verbs that run a study, or say what it would run."""

from typing import Annotated

import typer

from ablate.verbs.asked import Json, Overrides, StudyFile, StudyName, Workers, is_file, saved_plan


def run(
    file: StudyFile,
    overrides: Overrides = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option(help="Run failed trials again.")] = False,
    slurm: Annotated[str | None, typer.Option(help="The cluster of slurm/NAME.yaml.")] = None,
    watch: Annotated[bool, typer.Option(help="With --slurm: follow the jobs.")] = False,
    dry_run: Annotated[bool, typer.Option(help="With --slurm: show the jobs.")] = False,
) -> None:
    """Plan a study, run what is missing, and report."""
    from ablate import study
    from ablate.launching.where import Asked

    study.listen_for_endings()
    where = Asked(slurm, watch, dry_run)
    given = overrides or []
    code = study.run(file, given, workers=workers, retry_failed=retry_failed, where=where)
    raise typer.Exit(code)


def plan(
    file: StudyFile,
    overrides: Overrides = None,
    as_json: Json = False,
    timed: Annotated[
        bool, typer.Option("--time", help="Try each combination of parts: hours and FLOPs.")
    ] = False,
    workers: Workers = None,
) -> None:
    """Check a study and show what it would run. Nothing is run, but canaries with --time."""
    from ablate import study

    study.listen_for_endings()
    raise typer.Exit(
        study.show(file, overrides or [], as_json=as_json, timed=timed, workers=workers)
    )


def report(name: StudyName, overrides: Overrides = None) -> None:
    """Write a study's report again from what is on disk. Nothing is run."""
    from pathlib import Path

    from ablate import study

    study.listen_for_endings()
    if is_file(name):
        raise typer.Exit(study.report(Path(name), overrides or []))
    raise typer.Exit(study.report_again(saved_plan(name)["study"]))
