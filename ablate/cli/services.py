"""Commands that check this machine or a cluster, and that show a study in a browser."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import (
    Json,
    Overrides,
    Port,
    StudyFile,
    StudyName,
    fail,
    failing_on_value_error,
    load_plan,
)
from ablate.core.distribution import format_install_command


def doctor(
    runs: Annotated[
        Path | None,
        typer.Argument(help="Check the files of a store of runs instead.", metavar="RUNS"),
    ] = None,
    slurm: Annotated[
        str | None, typer.Option(help="Check the cluster of slurm/NAME.yaml.", metavar="NAME")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine, and whether it trains deterministically; or a cluster; or stored runs.

    With --slurm, one tiny job checks the cluster and its profile. With RUNS, every file of the run
    folders is read and compared with its checksum.
    """
    lines: list[str] = []
    print_line = lines.append if as_json else typer.echo
    is_healthy = _check(slurm, print_line) if runs is None else _check_runs(runs, print_line)
    if as_json:
        typer.echo(json.dumps({"healthy": is_healthy, "lines": lines}))
    raise typer.Exit(0 if is_healthy else 1)


def _check_runs(runs: Path, print_line: Callable[[str], None]) -> bool:
    """Checks a store of runs; returns whether no file is damaged."""
    from rich.console import Console

    from ablate.executors.doctor import check_runs
    from ablate.executors.progress import progress_bar

    if not runs.is_dir():
        fail(f"{runs}: no such folder; name a store of runs, such as `runs`")
    with progress_bar(Console(stderr=True), f"checking {runs}") as on_progress:
        return check_runs(runs, print_line, on_progress) == 0


def _check(slurm: str | None, print_line: Callable[[str], None]) -> bool:
    """Checks this machine or a cluster; returns whether all is well."""
    from ablate.runs import store

    if slurm is None:
        from ablate.executors import doctor as executor_doctor

        return executor_doctor.check_machine(store.get_folders(), print_line) == 0
    from ablate.config.study import StudyError
    from ablate.slurm import doctor as cluster_doctor
    from ablate.slurm import profile

    try:
        cluster_profile = profile.load_profile(slurm)
    except StudyError as error:
        fail(str(error))
    folder = store.get_folders().reports / "doctor"
    return cluster_doctor.check_cluster(cluster_profile, folder, print_line)


def dashboard(file: StudyFile, overrides: Overrides = None, port: Port = 8080) -> None:
    """Show a study's trials and sweeps in Optuna's dashboard, served on 127.0.0.1."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        fail(f"the dashboard is not installed: {format_install_command('dashboard')}")
    from ablate.dashboards.optuna import serve_dashboard
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(serve_dashboard(file, overrides or [], port=port))


def sync(
    name: StudyName,
    to: Annotated[str, typer.Option(help="Logger: wandb, mlflow or trackio.")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until all runs have ended.")
    ] = False,
) -> None:
    """Copy a study's curves, settings and scores to an experiment tracker, each step once."""
    from ablate.dashboards.loggers.logger import LoggerError, create_logger
    from ablate.dashboards.loggers.sync import follow_study, sync_study
    from ablate.runs import store

    plan, folders = load_plan(name), store.get_folders()
    try:
        logger = create_logger(to)
        folder = folders.reports / plan.study / "loggers" / to
        with failing_on_value_error():
            copies = follow_study(plan, folders, logger, folder)
            for number in copies if follow else [sync_study(plan, folders, logger, folder)]:
                typer.echo(f"copied {number} runs of {plan.study} to {to}")
    except LoggerError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def tensorboard(file: StudyFile, overrides: Overrides = None, port: Port = 6006) -> None:
    """Show a study's curves and masks in TensorBoard, served on 127.0.0.1."""
    from ablate.dashboards.tensorboard import serve_tensorboard
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(serve_tensorboard(file, overrides or [], port=port))
