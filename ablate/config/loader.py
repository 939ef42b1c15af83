"""YAML becomes a study here: read, extended, overridden from the command line, and checked.

All that can be known without building a part is refused at once, with file and line; what only
the parts can know is asked of a worker before anything runs.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from ablate.config import recipes
from ablate.config.study import DEFAULT_PROBES, KEYS, SETTINGS, Study, StudyError, check
from ablate.config.tree import (
    COMMAND_LINE,
    Node,
    from_plain,
    merge,
    overlay,
    set_path,
    to_yaml_scalar,
)
from ablate.core.suggest import did_you_mean


def load(file: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads a study file; `overrides` are `a.b=c` texts. Raises `StudyError` with all problems."""
    text = read(file)
    if not isinstance(text.value, dict):
        raise StudyError([f"{text.place}: expected the keys {', '.join(KEYS)}; got a value"])
    problems: list[str] = []
    defaults = {"probes": from_plain(DEFAULT_PROBES, "the default probes")}
    text = Node({**defaults, **text.value}, text.place)
    if "baseline" in text.children:
        baseline = _extended(text.children["baseline"], file, problems, (file,))
        text = Node({**text.children, "baseline": baseline}, text.place)
    for override in overrides:
        text = _overridden(text, override, problems)
    study = check(text, file, tuple(overrides), problems)
    if problems:
        raise StudyError(problems)
    source = file.read_text(encoding="utf-8-sig")
    comments = (line.strip("# \t") for line in source.splitlines() if line.startswith("#"))
    return dataclasses.replace(
        study,
        title=next(filter(None, comments), ""),
        source="\n".join([source.rstrip(), *(f"# override: {text}" for text in overrides), ""]),
    )


def settings(text: str, source: str) -> dict[str, Any]:
    """Reads settings written in one line, `{type: maskers.Random}`. Raises `StudyError`."""
    node = _parse(text, source, lines=False)
    if not isinstance(node.value, dict):
        raise StudyError([f"{source}: expected settings, got {node.plain()!r}"])
    plain: dict[str, Any] = node.plain()
    return plain


def read(file: Path) -> Node:
    """Reads one YAML file as a tree of values with places. Raises `StudyError`."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        there = [other.name for other in file.parent.glob("*.yaml")]
        raise StudyError([f"{file}: no such file{did_you_mean(file.name, there)}"]) from None
    except UnicodeDecodeError as error:
        raise StudyError([f"{file}: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    except OSError as error:
        raise StudyError([f"{file}: cannot be read: {error.strerror}"]) from error
    node = _parse(text, str(file))
    if node.value is None:
        raise StudyError([f"{file}: the file is empty"])
    return node


def _parse(text: str, source: str, *, lines: bool = True) -> Node:
    """Parses YAML 1.2: `1e-3` is a number and `no` a word."""
    try:
        value = YAML(typ="rt", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        line, problem = _worded(error, text)
        place = f"{source}:{line}" if lines and line else source
        raise StudyError([f"{place}: {problem}"]) from error
    problems: list[str] = []
    node = _located(value, source, 1 if lines else None, problems)
    if problems:
        raise StudyError(problems)
    return node


def _worded(error: Exception, text: str) -> tuple[int | None, str]:
    """Words what the YAML library raises; returns the line, from 1, where it tells one."""
    if isinstance(error, DuplicateKeyError):
        line = error.problem_mark.line
        key = text.splitlines()[line][error.problem_mark.column :].split(":")[0]
        return line + 1, f"the key `{key}` appears twice in one mapping; keep one of them"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = "a tab; YAML is indented with spaces" if "\\t" in error.problem else error.problem
        return mark.line + 1 if mark else None, f"not YAML: {problem}"
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"not YAML: the character U+{error.character:04X}; leave it out"
    return None, f"a date or a number that is none ({error}); write it in quotes"


def _located(
    value: Any, source: str, line: int | None, problems: list[str], above: tuple[int, ...] = ()
) -> Node:
    """Turns what the YAML library returns into plain values with places."""
    place = source if line is None else f"{source}:{line}"
    if id(value) in above:
        problems.append(f"{place}: an alias that contains itself")
    elif isinstance(value, CommentedMap | CommentedSeq):
        entries = value.items() if isinstance(value, CommentedMap) else enumerate(value)
        children: dict[str, Node] = {}
        for key, child in entries:
            marks = (value.lc.data or {}).get(key)  # none for a key that came by `<<`
            there = marks[0] + 1 if marks and line is not None else line
            inside = (*above, id(value))
            children[to_yaml_scalar(key)] = _located(child, source, there, problems, inside)
        found = children if isinstance(value, CommentedMap) else list(children.values())
        return Node(found, place)
    elif isinstance(value, ScalarBoolean):
        return Node(bool(value), place)
    elif value is None or isinstance(value, bool):
        return Node(value, place)
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{place}: {value} is not a finite number")
    else:
        for kind in (int, float, str):  # less the library's memory of how they were written
            if isinstance(value, kind):
                return Node(kind(value), place)
        problems.append(f"{place}: `{value}` is a {type(value).__name__}; write it in quotes")
    return Node(None, place)


def _extended(node: Node, file: Path, problems: list[str], chain: tuple[Path, ...]) -> Node:
    """Lays a mapping over the file it `extends`, whose path is relative to the file saying so.

    A recipe that does not lie there is looked for among those that come with the package.
    Of a list of files each is laid over those before it: by its `overlay` where it has one, which
    changes only settings that are there, and otherwise whole.
    """
    link = node.children.get("extends")
    if link is None:
        return node
    own = node.without("extends")
    links = link.value if isinstance(link.value, list) else [link]
    if not links or not all(isinstance(one.value, str) for one in links):
        problems.append(f"{link.place}: `extends` must be a path, got {link.plain()!r}")
        return own
    below: Node | None = None
    for one in links:
        other = _found(str(one.value), file)
        inherited = _linked(one, other, problems, chain)
        if inherited is None:
            continue
        changes = inherited.children.get("overlay")
        if below is not None and changes is not None:
            below = overlay(below, changes)
            continue
        whole = _extended(inherited.without("overlay"), other, problems, (*chain, other))
        below = whole if below is None else merge(below, whole)
    return own if below is None else merge(below, own)


def _found(link: str, file: Path) -> Path:
    own = Path(os.path.normpath(file.parent / link))
    return own if own.is_file() else recipes.recipe(link) or own


def _linked(link: Node, other: Path, problems: list[str], chain: tuple[Path, ...]) -> Node | None:
    """Reads a file that is extended; what is wrong with it is told where it is named."""
    if other in chain:
        circle = " -> ".join(map(str, (*chain, other)))
        problems.append(f"{link.place}: `extends` goes in a circle: {circle}")
        return None
    try:
        inherited = read(other)
    except StudyError as error:
        where = "paths are relative to the file that holds them"
        if str(link.value).startswith(recipes.RECIPES):
            hint = did_you_mean(str(link.value), recipes.recipes())
            where += f", and no such recipe comes with ablate{hint}"
        problems += [f"{link.place}: `extends`: {problem} ({where})" for problem in error.problems]
        return None
    if not isinstance(inherited.value, dict):
        problems.append(f"{inherited.place}: expected settings, got {inherited.plain()!r}")
        return None
    return inherited


def _overridden(text: Node, override: str, problems: list[str]) -> Node:
    """Applies `a.b=c`: the baseline's setting `a.b`, or the study's where `a` is a study key."""
    key, equals, written = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        problem = "expected `key=value`, such as `budget.steps=10`"
        problems.append(f"{COMMAND_LINE}: `{override}`: {problem}")
        return text
    known = {*KEYS, *SETTINGS}
    if path[0] not in known:
        problem = f"unknown key `{path[0]}`{did_you_mean(path[0], known)}"
        problems.append(f"{COMMAND_LINE}: `{override}`: {problem}")
        return text
    if path[0] == "factors":
        path = ("factors", *_factor_path(text, path[1:]))
    elif path[0] not in KEYS:
        path = ("baseline", *path)
    try:
        return set_path(text, path, _parse(written, COMMAND_LINE, lines=False))
    except StudyError as error:
        problems += [f"{problem} (in `{override}`)" for problem in error.problems]
    except ValueError as error:
        problems.append(f"{COMMAND_LINE}: `{override}`: {error}")
    return text


def _factor_path(text: Node, path: tuple[str, ...]) -> tuple[str, ...]:
    """Splits off the factor, whose name may hold dots; an unknown one takes the whole path."""
    factors = text.children.get("factors", Node({}, text.place)).children
    for length in range(len(path), 0, -1):
        if ".".join(path[:length]) in factors:
            return (".".join(path[:length]), *path[length:])
    return (".".join(path),)
