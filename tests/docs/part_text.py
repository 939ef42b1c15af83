"""Formats what the docstring of a part says: for the gallery, and for the page of all settings."""

import dataclasses
import inspect
import json
import re
from typing import Any

SECTIONS = re.compile(r"\n\n(?:Args|Raises|Attributes|Example):")


def find_about(part: type) -> str:
    """Returns the paragraphs of a docstring before its sections."""
    return SECTIONS.split(inspect.getdoc(part) or "")[0]


def find_example(part: type) -> str:
    """Returns the YAML of the example in a docstring; empty if there is none, or one in Python."""
    text = (inspect.getdoc(part) or "").partition("Example:\n")[2]
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    if not lines or lines[0].strip().startswith(">>>"):
        return ""
    return inspect.cleandoc("\n" + "\n".join(lines))


def format_settings(part: Any) -> str:
    """Formats the arguments in a docstring as a table with their defaults."""
    lines = (inspect.getdoc(part) or "").partition("Args:\n")[2]
    lines = re.split(r"\n\n(?=\w+:)", lines)[0]
    rows = re.findall(r"(?ms)^    (\w+): (.*?)(?=^    \w+: |\Z)", lines)
    defaults = {field.name: field for field in dataclasses.fields(part)}
    cells = [
        f"| `{name}` | {format_default(defaults[name])} | {' '.join(about.split())} |"
        for name, about in rows
    ]
    return "\n".join(["| setting | default | is |", "|---|---|---|", *cells]) if cells else ""


def format_default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        return "" if value is None else f"`{json.dumps(value, default=str)}`"
    return "required" if field.default_factory is dataclasses.MISSING else ""
