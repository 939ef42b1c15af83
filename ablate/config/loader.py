"""Loads a study from its YAML file: parses it, merges what it extends, applies overrides.

Everything that can be checked without building a part is checked here, and all mistakes are
reported at once with file and line. What only the parts know is checked by a worker.
"""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ablate.config import package_files
from ablate.config.keys import DEFAULT_PROBES, KEYS, SETTINGS
from ablate.config.study import Study, StudyError, validate_study
from ablate.config.tree import COMMAND_LINE, Node, from_plain, merge, overlay, set_path
from ablate.config.yaml_reader import parse_yaml
from ablate.core.suggest import did_you_mean

TRY = "-try"  # ends the name of a study whose settings were replaced on the command line
NO_TRY = ("limits", "slurm", "notify", "description")  # keys that change no result
MAX_LINKS = 100  # files that a study may extend, each counted as often as it is read


def load(file: Path, overrides: Sequence[str] = ()) -> Study:
    """Loads a study.

    Args:
        file: the study's YAML file.
        overrides: texts `a.b=c`, each of which sets a key of the study or of its baseline. A study
            `mine` is then named `mine-try`, so that its report does not replace that of the file,
            unless one of the texts is `study=NAME`, or all set `NO_TRY`.

    Raises:
        StudyError: with every mistake in the file, in what it extends, and in the overrides.
    """
    tree = read(file)
    if not tree.is_mapping:
        raise StudyError([f"{tree.place}: expected the keys {', '.join(KEYS)}; got a value"])
    problems: list[str] = []
    defaults = {"probes": from_plain(DEFAULT_PROBES, "the default probes")}
    tree = Node({**defaults, **tree.children}, tree.place)
    if "baseline" in tree.children:
        baseline = _extend(tree.children["baseline"], file, problems, (file,), count(1))
        tree = Node({**tree.children, "baseline": baseline}, tree.place)
    for override in overrides:
        tree = _override(tree, override, problems)
    source = file.read_text(encoding="utf-8-sig")
    comments = (line.strip("# \t") for line in source.splitlines() if line.startswith("#"))
    try:
        study = validate_study(tree, file, overrides)
    except StudyError as error:
        problems += error.problems
    if problems:
        raise StudyError(problems)
    replaced = {re.split("[.=]", override)[0].strip() for override in overrides}
    is_try = bool(replaced.difference(NO_TRY)) and "study" not in replaced
    return study.model_copy(
        update={
            "name": study.name + TRY if is_try else study.name,
            "title": next(filter(None, [*study.description.splitlines(), *comments]), ""),
            "source": "\n".join([source.rstrip(), *(f"# override: {o}" for o in overrides), ""]),
        }
    )


def parse_settings(text: str, source: str) -> dict[str, Any]:
    """Parses settings written in one line, `{type: maskers.Random}`.

    `source` names the text in errors. Raises `StudyError`.
    """
    node = parse_yaml(text, source, lines=False)
    if not node.is_mapping:
        raise StudyError([f"{source}: expected settings, got {node.plain()!r}"])
    plain: dict[str, Any] = node.plain()
    return plain


def read(file: Path) -> Node:
    """Reads one YAML file as a tree of values with places. Raises `StudyError`."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        neighbours = [other.name for other in file.parent.glob("*.yaml")]
        raise StudyError([f"{file}: no such file{did_you_mean(file.name, neighbours)}"]) from None
    except UnicodeDecodeError as error:
        raise StudyError([f"{file}: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    except OSError as error:
        raise StudyError([f"{file}: cannot be read: {error.strerror}"]) from error
    node = parse_yaml(text, str(file))
    if node.value is None:
        raise StudyError([f"{file}: the file is empty"])
    return node


def _extend(
    node: Node, file: Path, problems: list[str], chain: tuple[Path, ...], num_links: Iterator[int]
) -> Node:
    """Merges a mapping into the file that it `extends`.

    The path is relative to `file`; if there is no such file, it may be a recipe of the package.
    In a list of files, each is merged into those before it. If it has an `overlay`, only that
    part is used, and it changes only settings that exist already.
    """
    link = node.children.get("extends")
    if link is None:
        return node
    own = node.without("extends")
    links = link.value if isinstance(link.value, list) else [link]
    if not links or not all(isinstance(one.value, str) for one in links):
        problems.append(f"{link.place}: `extends` must be a path, got {link.plain()!r}")
        return own
    base: Node | None = None
    for one in links:
        other = _resolve_link(str(one.value), file)
        if next(num_links) > MAX_LINKS:
            raise StudyError([f"{one.place}: `extends` reads more than {MAX_LINKS} files"])
        inherited = _read_linked(one, other, problems, chain)
        if inherited is None:
            continue
        changes = inherited.children.get("overlay")
        if base is not None and changes is not None:
            base = overlay(base, changes)
            continue
        extended = _extend(
            inherited.without("overlay"), other, problems, (*chain, other), num_links
        )
        base = extended if base is None else merge(base, extended)
    return own if base is None else merge(base, own)


def _resolve_link(link: str, file: Path) -> Path:
    own = Path(os.path.normpath(file.parent / link))
    return own if own.is_file() else package_files.find_recipe(link) or own


def _read_linked(
    link: Node, other: Path, problems: list[str], chain: tuple[Path, ...]
) -> Node | None:
    """Reads a file that is extended; its problems are reported at the place of the link."""
    if other in chain:
        circle = " -> ".join(map(str, (*chain, other)))
        problems.append(f"{link.place}: `extends` goes in a circle: {circle}")
        return None
    try:
        inherited = read(other)
    except StudyError as error:
        where = "paths are relative to the file that holds them"
        if str(link.value).startswith(package_files.RECIPES):
            hint = did_you_mean(str(link.value), package_files.list_recipes())
            where += f", and ablate has no such recipe{hint}"
        problems += [f"{link.place}: `extends`: {problem} ({where})" for problem in error.problems]
        return None
    if not inherited.is_mapping:
        problems.append(f"{inherited.place}: expected settings, got {inherited.plain()!r}")
        return None
    return inherited


def _override(tree: Node, override: str, problems: list[str]) -> Node:
    """Applies `a.b=c`; `a` is a key of the study, or else a setting of its baseline."""
    key, equals, value = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        problem = "expected `key=value`, such as `budget.steps=10`"
        problems.append(f"{COMMAND_LINE}: `{override}`: {problem}")
        return tree
    keys = {*KEYS, *SETTINGS}
    if path[0] not in keys:
        problem = f"unknown key `{path[0]}`{did_you_mean(path[0], keys)}"
        problems.append(f"{COMMAND_LINE}: `{override}`: {problem}")
        return tree
    if path[0] == "factors":
        path = ("factors", *_split_factor(tree, path[1:]))
    elif path[0] not in KEYS:
        path = ("baseline", *path)
    try:
        node = parse_yaml(value, COMMAND_LINE, lines=False)
        if isinstance(text := node.plain(), str) and _is_cut(value, text):
            quoted = f"""{key}='"{value}"'"""
            problems.append(
                f"{COMMAND_LINE}: `{override}`: YAML reads `{text}`; write it in quotes: {quoted}"
            )
        return set_path(tree, path, node)
    except StudyError as error:
        remedy = "if this is a text, write it in quotes"
        problems += [f"{problem} (in `{override}`); {remedy}" for problem in error.problems]
    except ValueError as error:
        problems.append(f"{COMMAND_LINE}: `{override}`: {error}")
    return tree


def _is_cut(value: str, text: str) -> bool:
    """Returns whether YAML took a part of an unquoted text for a comment."""
    return value.strip()[:1] not in ("'", '"', "|", ">") and text != value.strip()


def _split_factor(tree: Node, path: tuple[str, ...]) -> tuple[str, ...]:
    """Joins the leading keys that name a factor with dots; an unknown factor takes all keys."""
    factors = tree.children.get("factors", Node({}, tree.place)).children
    for length in range(len(path), 0, -1):
        if ".".join(path[:length]) in factors:
            return (".".join(path[:length]), *path[length:])
    return (".".join(path),)
