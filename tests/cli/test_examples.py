"""Every command shows examples that its own parser accepts."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from ablate.cli.examples import EXAMPLES
from ablate.cli.main import app
from tests.command import ablate


def list_commands(group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):  # a group of commands
            yield from list_commands(command)
        else:
            yield name, command


COMMANDS = dict(list_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_can_be_parsed(name: str) -> None:
    for line in EXAMPLES[name]:
        words = shlex.split(line, comments=True)
        arguments = words[words.index(name) + 1 :]
        COMMANDS[name].make_context(name, arguments)
        assert line in COMMANDS[name].epilog


def test_help_shows_the_examples() -> None:
    assert "ablate compare masking masking-try --html" in ablate("compare", "--help").stdout
