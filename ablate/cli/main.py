"""The command line `ablate`. Each command imports what it needs, so that `--help` stays fast."""

import logging
import os
import sys
from typing import Annotated

import typer

from ablate import __version__
from ablate.cli import cleanup, services, tools
from ablate.cli import inspect as cli_inspect
from ablate.cli import manifest as cli_manifest
from ablate.cli import run as cli_run
from ablate.cli.examples import format_examples

LOG_LEVELS = ("debug", "info", "warning", "error")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    cli_run.run,
    cli_run.plan,
    cli_run.prepare,
    cli_inspect.status,
    cli_inspect.logs,
    cleanup.cancel,
    cleanup.retry,
    cli_run.report,
    cli_run.publish,
    cli_run.followup,
    cli_inspect.compare,
    cli_inspect.why_different,
    cli_inspect.show,
    cleanup.clean,
    services.doctor,
    tools.init,
    cli_manifest.manifest,
    tools.export,
    tools.features,
    tools.zoo,
    services.dashboard,
    services.tensorboard,
    services.sync,
):
    name = command.__name__.replace("_", "-")
    app.command(name, epilog=format_examples(name))(command)
app.add_typer(tools.bench, name="bench")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"ablate {__version__}")
        raise typer.Exit


@app.callback()
def _ablate(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run ablation studies of the masks and patches of audio JEPAs."""


def _set_log_level(level: str) -> None:
    """Shows log messages from a level on; by default warnings."""
    if level and level.lower() not in LOG_LEVELS:
        typer.echo(f"ABLATE_LOG is `{level}`; use one of {', '.join(LOG_LEVELS)}", err=True)
        sys.exit(2)
    if level:
        logging.basicConfig(level=level.upper(), format="%(asctime)s %(name)s: %(message)s")


def main() -> None:
    """Runs the command line `ablate`."""
    from ablate.core.machine_errors import find_remedy
    from ablate.executors.progress import replace_unencodable

    replace_unencodable()
    _set_log_level(os.environ.get("ABLATE_LOG", ""))
    try:
        app(prog_name="ablate")
    except OSError as error:
        remedy = find_remedy(error)
        if remedy is None:
            raise
        typer.echo(f"{error}: {remedy}", err=True)
        sys.exit(1)
