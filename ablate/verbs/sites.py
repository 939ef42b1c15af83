"""The verbs about places: this machine, a cluster, a browser."""

import importlib.util
from typing import Annotated

import typer

from ablate.verbs.asked import Overrides, Port, StudyFile, refuse


def doctor(
    slurm: Annotated[
        str | None, typer.Option(help="Check the cluster of slurm/NAME.yaml.", metavar="NAME")
    ] = None,
) -> None:
    """Check this machine; or, by one tiny job, a cluster and its profile."""
    from ablate.launching import ledger

    if slurm is None:
        from ablate.launching import checkup

        raise typer.Exit(checkup.examine(ledger.folders(), typer.echo))
    from ablate.launching import doctor as door
    from ablate.launching import profile
    from ablate.schema import StudyError

    try:
        found = profile.load(slurm)
    except StudyError as error:
        refuse(str(error))
    raise typer.Exit(
        0 if door.examine(found, ledger.folders().reports / "doctor", typer.echo) else 1
    )


def dashboard(file: StudyFile, overrides: Overrides = None, port: Port = 8080) -> None:
    """Show a study's trials and sweeps in a browser: Optuna's dashboard, on 127.0.0.1."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        refuse("the dashboard is not installed: pip install 'ablate[dashboard]'")
    from ablate.launching.endings import listen_for_endings
    from ablate.watching import dashboard as door

    listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))


def tensorboard(file: StudyFile, overrides: Overrides = None, port: Port = 6006) -> None:
    """Show a study's curves and masks in a browser: TensorBoard, on 127.0.0.1."""
    from ablate.launching.endings import listen_for_endings
    from ablate.watching import board as door

    listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))
