"""The front door: `python -m ablate.study FILE` is `ablate run FILE`.

Exit codes: 0 all is done, 1 some trials failed, 2 the study file is wrong, 3 it would take more
than its `limits` allow, 130 interrupted.
"""

import typer

from ablate.cli.run import run


def main() -> None:
    """Runs the one command of `python -m ablate.study`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(run)
    app(prog_name="python -m ablate.study")


if __name__ == "__main__":
    main()
