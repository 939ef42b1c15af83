"""Runs a study: `python -m ablate.study FILE` does the same as `ablate run FILE`.

Exit codes: 0 everything is done, 1 some trials failed, 2 the study file is invalid, 3 the study
would exceed its `limits`, 130 interrupted.
"""

import typer

from ablate.cli.examples import format_examples
from ablate.cli.run import run
from ablate.executors.progress import replace_unencodable


def main() -> None:
    """Runs the one command of `python -m ablate.study`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=format_examples("run"))(run)
    replace_unencodable()
    app(prog_name="python -m ablate.study")


if __name__ == "__main__":
    main()
