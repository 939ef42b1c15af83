"""Names, `--help` texts and docstrings use the standard terms of the field."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from ablate.cli.main import app

ROOT = Path(__file__).parents[1]
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for folder in ("ablate", "maskers", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
# words that an earlier version used in a sense of its own, or that say nothing as names
WITHDRAWN_WORD = re.compile(
    r"told|heard|hears?|tells?|asked|asks?|given|found|said|says?|shown|known|taken|settled|refused"
    r"|mine|whole|there|doors?|rooms?|house|guests?|strangers?|foreign|workshop|office|desk|seats?"
    r"|turns?|crew|errands?|vigil|attendance|tryout|exhibit|pupil|lessons?|exercise|examination"
    r"|examiner|shelf|heart|giveaways?|epitaph"
)
# settings of studies, parameters that initial weights depend on, methods of files, and HEAR
ALLOWED_NAMES = {
    ("ablate/audio/byte_views.py", "tell"),
    ("ablate/model/codebook.py", "of"),
    ("ablate/model/regularisers.py", "of"),
    ("ablate/probing/attentive.py", "tell"),
    ("tests/export/test_hear.py", "hear"),
}
WITHDRAWN_IN_PROSE = re.compile(
    r"\b(told|heard|strangers?|guests?|doors?|workshop|office|desk|errands?|crew|vigil|pupil"
    r"|lessons?|exhibit|epitaph|giveaways?|lend a hand|last words|where there is none|likewise"
    r"|less the|one a seed|a row a|for who)\b",
    re.IGNORECASE,
)


def list_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields every name that a module binds, with its line."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def split_words(name: str) -> set[str]:
    """Splits `snake_case` and `CamelCase` into lower-case words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def is_withdrawn(name: str) -> bool:
    return name == "of" or any(map(WITHDRAWN_WORD.fullmatch, split_words(name)))


def list_first_paragraphs(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the first paragraph of every docstring, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            yield getattr(node, "lineno", 1), docstring.split("\n\n")[0]


def list_help_texts(command: object, path: str) -> Iterator[tuple[str, str]]:
    """Yields the help of a command, of its options, and of its subcommands."""
    yield path, getattr(command, "help", None) or ""
    for option in getattr(command, "params", ()):
        yield f"{path} {option.name}", getattr(option, "help", None) or ""
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from list_help_texts(subcommand, f"{path} {name}")


def test_names_use_no_withdrawn_words() -> None:
    assert [
        f"{path}:{line} {name}"
        for path, tree in TREES.items()
        for line, name in list_names(tree)
        if is_withdrawn(name) and (path, name) not in ALLOWED_NAMES
    ] == []


def test_docstrings_begin_without_withdrawn_words() -> None:
    assert [
        f"{path}:{line} {match[0]}"
        for path, tree in TREES.items()
        for line, text in list_first_paragraphs(tree)
        if (match := WITHDRAWN_IN_PROSE.search(text))
    ] == []


def test_comments_can_be_read_on_their_own() -> None:
    assert [
        f"{path}: {line.strip()}"
        for path in TREES
        for line in (ROOT / path).read_text(encoding="utf-8").splitlines()
        if re.search(r"\s# of\b", line)
    ] == []


def test_help_texts_use_no_withdrawn_words() -> None:
    texts = dict(list_help_texts(typer.main.get_command(app), "ablate"))
    assert len(texts) > 50  # every command and option
    assert [path for path, text in texts.items() if WITHDRAWN_IN_PROSE.search(text)] == []


@pytest.mark.parametrize(
    ("code", "withdrawn"),
    [
        ("def get_value(): pass", []),
        ("def was_told(): pass", ["was_told"]),
        ("class HeardClips: pass", ["HeardClips"]),
        ("def f(guest): pass", ["guest"]),
        ("found = 1", ["found"]),
        ("self.of = 1", ["of"]),
        ("import os as door", ["door"]),
        ("told()", []),  # uses are not definitions
    ],
)
def test_withdrawn_words_are_detected_in_every_kind_of_name(
    code: str, withdrawn: list[str]
) -> None:
    names = [name for _, name in list_names(ast.parse(code))]
    assert [name for name in names if is_withdrawn(name)] == withdrawn
