"""The verbs about places: this machine, a cluster, a browser."""

import importlib.util
from typing import Annotated

import typer

from ablate.cli.options import Overrides, Port, StudyFile, refuse


def doctor(
    slurm: Annotated[
        str | None, typer.Option(help="Check the cluster of slurm/NAME.yaml.", metavar="NAME")
    ] = None,
) -> None:
    """Check this machine; or, by one tiny job, a cluster and its profile."""
    from ablate.runs import store

    if slurm is None:
        from ablate.executors import doctor as executor_doctor

        raise typer.Exit(executor_doctor.check_machine(store.get_folders(), typer.echo))
    from ablate.config.study import StudyError
    from ablate.slurm import doctor as door
    from ablate.slurm import profile

    try:
        found = profile.load(slurm)
    except StudyError as error:
        refuse(str(error))
    raise typer.Exit(
        0 if door.examine(found, store.get_folders().reports / "doctor", typer.echo) else 1
    )


def dashboard(file: StudyFile, overrides: Overrides = None, port: Port = 8080) -> None:
    """Show a study's trials and sweeps in a browser: Optuna's dashboard, on 127.0.0.1."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        refuse("the dashboard is not installed: pip install 'ablate[dashboard]'")
    from ablate.dashboards import optuna as door
    from ablate.study.exit_codes import listen_for_endings

    listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))


def tensorboard(file: StudyFile, overrides: Overrides = None, port: Port = 6006) -> None:
    """Show a study's curves and masks in a browser: TensorBoard, on 127.0.0.1."""
    from ablate.dashboards import tensorboard as door
    from ablate.study.exit_codes import listen_for_endings

    listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))
