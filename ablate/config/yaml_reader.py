"""Parses YAML to a tree whose values know their lines, within bounds on size and depth.

A few lines of YAML can stand for billions of values, through aliases of aliases.
"""

import math
import re
from itertools import accumulate
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from ablate.config.study import StudyError
from ablate.config.tree import Node, to_yaml_scalar

MAX_CHARACTERS = 250_000
MAX_VALUES = 100_000  # values of all mappings and lists, in one file
MAX_DEPTH = 50
MAX_BRACKETS = 200  # open at once, also in texts; the library takes long to give up on more
TOO_DEEP = f"settings are nested in more than {MAX_DEPTH} levels; write them flatter"


def parse_yaml(text: str, source: str, *, lines: bool = True) -> Node:
    """Parses YAML 1.2, in which `1e-3` is a number and `no` is text.

    Args:
        text: the text.
        source: names it in errors and in the places of values.
        lines: whether places have the number of a line.

    Raises:
        StudyError: for a text that is no YAML, or that is too large, too deep, or too large once
            its aliases are written out.
    """
    if len(text) > MAX_CHARACTERS:
        problem = f"{len(text)} characters are no settings; {MAX_CHARACTERS} at most are read"
        raise StudyError([f"{source}: {problem}"])
    if _count_open_brackets(text) > MAX_BRACKETS:
        raise StudyError([f"{source}: {TOO_DEEP}"])
    try:
        value = YAML(typ="rt", pure=True).load(text)
    except RecursionError:
        raise StudyError([f"{source}: {TOO_DEEP}"]) from None
    except (YAMLError, ValueError, TypeError) as error:
        line, problem = _describe_yaml_error(error, text)
        place = f"{source}:{line}" if lines and line else source
        raise StudyError([f"{place}: {problem}"]) from error
    conversion = _Conversion(source)
    node = conversion.to_node(value, 1 if lines else None)
    if conversion.problems:
        raise StudyError(conversion.problems)
    return node


def _describe_yaml_error(error: Exception, text: str) -> tuple[int | None, str]:
    """Returns the line of an error of the YAML library, counted from 1 if known, and a message."""
    if isinstance(error, DuplicateKeyError):
        line = error.problem_mark.line
        key = text.splitlines()[line][error.problem_mark.column :].split(":")[0]
        return line + 1, f"the key `{key}` appears twice in one mapping; keep one of them"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = "a tab; YAML is indented with spaces" if "\\t" in error.problem else error.problem
        if "expected <block end>" in problem:
            problem += "; is this line, or the one above it, indented as its neighbours are?"
        if "mapping values are not allowed" in problem:
            problem += "; a text with `: ` needs quotes, and lines of one section one indentation"
        return mark.line + 1 if mark else None, f"not YAML: {problem}"
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"not YAML: the character U+{error.character:04X}; leave it out"
    if isinstance(error, TypeError):  # unhashable
        return None, "not YAML for settings: a mapping is the key of another; keys are texts"
    return None, f"invalid date or number: {error}; write it in quotes"


def _count_open_brackets(text: str) -> int:
    """Returns how many brackets and braces are open at once, at most."""
    steps = ({"[": 1, "{": 1}.get(sign, -1) for sign in re.findall(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0)


class _Conversion:
    """Converts the YAML library's objects to plain values with places, within bounds."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._num_values = 0  # an alias counts each time that it is used
        self.problems: list[str] = []

    def to_node(self, value: Any, line: int | None, parents: tuple[int, ...] = ()) -> Node:
        """Converts a value, and those in it; adds to `problems` what it cannot convert.

        Args:
            value: the library's object.
            line: line of its key; None if places have no lines.
            parents: the identities of the objects that contain it.
        """
        place = self._source if line is None else f"{self._source}:{line}"
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            rule = f"with all aliases written out, a file has {MAX_VALUES} values at most"
            raise StudyError([f"{place}: {rule}; repeat less"])
        if id(value) in parents:
            self.problems.append(f"{place}: an alias that contains itself")
        elif len(parents) > MAX_DEPTH:
            raise StudyError([f"{place}: {TOO_DEEP}"])
        elif isinstance(value, CommentedMap | CommentedSeq):
            return self._convert_items(value, place, line, (*parents, id(value)))
        else:
            return Node(self._to_scalar(value, place), place)
        return Node(None, place)

    def _convert_items(
        self,
        value: CommentedMap | CommentedSeq,
        place: str,
        line: int | None,
        parents: tuple[int, ...],
    ) -> Node:
        is_map = isinstance(value, CommentedMap)
        children: dict[str, Node] = {}
        for key, child in value.items() if isinstance(value, CommentedMap) else enumerate(value):
            marks = (value.lc.data or {}).get(key)  # a key merged by `<<` has no mark
            child_line = marks[0] + 1 if marks and line is not None else line
            children[to_yaml_scalar(key)] = self.to_node(child, child_line, parents)
        return Node(children if is_map else list(children.values()), place)

    def _to_scalar(self, value: Any, place: str) -> str | int | float | bool | None:
        """Drops the library's record of how a scalar was written."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, ScalarBoolean):
            return bool(value)
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.append(f"{place}: {value} is not a finite number")
            return None
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return str(value)
        kind = type(value).__name__
        self.problems.append(f"{place}: `{value}` is a {kind}; write it in quotes")
        return None
