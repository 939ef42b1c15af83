"""Docstrings of functions list no argument that the function does not have."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("ablate/**/*.py"), *ROOT.glob("maskers/*.py")])


def list_unknown_arguments(text: str) -> Iterator[str]:
    """Yields the documented arguments that are missing in the signature, with their function."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        documented = re.search(r"\nArgs:\n((?: .*\n|\n)*)", f"{ast.get_docstring(node)}\n")
        if documented is None:
            continue
        signature = node.args
        accepted = [*signature.posonlyargs, *signature.args, *signature.kwonlyargs]
        accepted += [argument for argument in (signature.vararg, signature.kwarg) if argument]
        names = re.findall(r"^ {4}\*{0,2}`?(\w+)`?:", documented[1], flags=re.MULTILINE)
        own = {argument.arg for argument in accepted}
        yield from (f"{node.name}: {name}" for name in names if name not in own)


def test_an_argument_that_a_function_does_not_have_is_reported() -> None:
    lines = ("def f(seeds):", '    """Counts.', "", "    Args:", "        seeds: all.")
    text = "\n".join([*lines, "        level: one.", '    """'])
    assert list(list_unknown_arguments(text)) == ["f: level"]


def test_every_documented_argument_is_one_of_the_function() -> None:
    unknown = {str(file): [*list_unknown_arguments(file.read_text())] for file in FILES}
    assert {file: names for file, names in unknown.items() if names} == {}
