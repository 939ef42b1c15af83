"""Commands that check this machine or a cluster, and that show a study in a browser."""

import importlib.util
from typing import Annotated

import typer

from ablate.cli.options import Overrides, Port, StudyFile, fail
from ablate.core.distribution import format_install_command


def doctor(
    slurm: Annotated[
        str | None, typer.Option(help="Check the cluster of slurm/NAME.yaml.", metavar="NAME")
    ] = None,
) -> None:
    """Check this machine; with --slurm, check a cluster and its profile by running one tiny job."""
    from ablate.runs import store

    if slurm is None:
        from ablate.executors import doctor as executor_doctor

        raise typer.Exit(executor_doctor.check_machine(store.get_folders(), typer.echo))
    from ablate.config.study import StudyError
    from ablate.slurm import doctor as cluster_doctor
    from ablate.slurm import profile

    try:
        cluster_profile = profile.load_profile(slurm)
    except StudyError as error:
        fail(str(error))
    folder = store.get_folders().reports / "doctor"
    is_healthy = cluster_doctor.check_cluster(cluster_profile, folder, typer.echo)
    raise typer.Exit(0 if is_healthy else 1)


def dashboard(file: StudyFile, overrides: Overrides = None, port: Port = 8080) -> None:
    """Show a study's trials and sweeps in Optuna's dashboard, served on 127.0.0.1."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        fail(f"the dashboard is not installed: {format_install_command('dashboard')}")
    from ablate.dashboards.optuna import serve_dashboard
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(serve_dashboard(file, overrides or [], port=port))


def tensorboard(file: StudyFile, overrides: Overrides = None, port: Port = 6006) -> None:
    """Show a study's curves and masks in TensorBoard, served on 127.0.0.1."""
    from ablate.dashboards.tensorboard import serve_tensorboard
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(serve_tensorboard(file, overrides or [], port=port))
