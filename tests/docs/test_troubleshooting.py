"""The messages that docs/troubleshooting.md explains are those of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ablate.core.records.run import FailureKind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = re.compile(r"``(.+?)``|`([^`]+)`")
GAP = "\0"  # in place of a value in a message


def list_tables() -> Iterator[tuple[str, list[str]]]:
    """Yields the first head of every table, and the first cells of its rows."""
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in table.splitlines()
        )
        yield head[0], [row[0] for row in rows]


def quote(cell: str) -> list[str]:
    """Returns the quoted messages of a cell: those of several words, not keys or commands."""
    texts = ["".join(groups) for groups in QUOTED.findall(cell)]
    return [text for text in texts if " " in text and not text.startswith("ablate ")]


class Literals(ast.NodeVisitor):
    """Collects the strings of a module, f-strings with gaps, but no docstrings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.texts.append(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = (part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
        self.texts.append("".join(map(str, parts)))
        self.generic_visit(node)


@pytest.fixture(scope="module")
def literals() -> list[str]:
    visitor = Literals()
    for folder in ("ablate", "maskers"):
        for file in (ROOT / folder).rglob("*.py"):
            visitor.visit(ast.parse(file.read_text()))
    return visitor.texts


def is_in(message: str, text: str) -> bool:
    """Whether the pieces of a message, between its dots, follow each other in a text."""
    place = 0
    for piece in filter(None, (piece.strip() for piece in message.split("..."))):
        place = text.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True


CELLS = [(head, cell) for head, cells in list_tables() for cell in cells]
PROSE = [line for line in PAGE.splitlines() if not line.startswith("|")]
MESSAGES = sorted({text for cell in (*(cell for _, cell in CELLS), *PROSE) for text in quote(cell)})


def test_every_row_of_messages_quotes_one() -> None:
    rows = [cell for head, cell in CELLS if head == "message"]
    assert len(rows) > 15
    assert [cell for cell in rows if not quote(cell)] == []


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_in_the_code(literals: list[str], message: str) -> None:
    assert any(is_in(message, text) for text in literals)


def test_every_kind_of_failure_has_a_row() -> None:
    kinds = [cell.strip("`") for head, cell in CELLS if head == "kind"]
    assert sorted(kinds) == sorted(get_args(FailureKind))
