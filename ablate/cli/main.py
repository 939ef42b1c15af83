"""The console script `ablate`: its verbs. Nothing heavy is imported until a verb needs it."""

import typer

from ablate.cli import cleanup, services, tools
from ablate.cli import inspect as cli_inspect
from ablate.cli import run as cli_run

app = typer.Typer(
    help="Find out, and prove, which mask and which patch make an audio JEPA learn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    cli_run.run,
    cli_run.plan,
    cli_inspect.status,
    cli_inspect.logs,
    cleanup.cancel,
    cleanup.retry,
    cli_run.report,
    cli_run.publish,
    cli_inspect.compare,
    cli_inspect.why_different,
    cli_inspect.show,
    cleanup.clean,
    services.doctor,
    tools.init,
    tools.manifest,
    tools.export,
    tools.zoo,
    services.dashboard,
    services.tensorboard,
):
    app.command(verb.__name__.replace("_", "-"))(verb)
app.add_typer(tools.bench, name="bench", help="Measure the cost of training steps and of masks.")


def main() -> None:
    """Runs the verb that the command line names: the console script `ablate`."""
    app()
