"""The console script `ablate`: its verbs. Nothing heavy is imported until a verb needs it."""

import typer

from ablate.verbs import looking, running, sites, things, tidying

app = typer.Typer(
    help="Find out, and prove, which mask and which patch make an audio JEPA learn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    running.run,
    running.plan,
    looking.status,
    looking.logs,
    tidying.cancel,
    tidying.retry,
    running.report,
    running.publish,
    looking.compare,
    looking.why_different,
    looking.show,
    tidying.clean,
    sites.doctor,
    things.init,
    things.manifest,
    things.export,
    things.zoo,
    sites.dashboard,
    sites.tensorboard,
):
    app.command(verb.__name__.replace("_", "-"))(verb)
app.add_typer(things.bench, name="bench", help="Measure the cost of training steps and of masks.")


def main() -> None:
    """Runs the verb that the command line names: the console script `ablate`."""
    app()
