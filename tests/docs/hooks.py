"""Adds pages to the documentation site that the code itself describes: commands and parts.

They take the place of a marker in a page, `<!-- commands -->`, or of a file at the top of the
repository. mkdocs calls the functions whose names begin with `on_`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer.main
from mkdocs.structure.files import File, Files

from ablate.cli.main import app
from ablate.core.part_classes import get_class_path
from tests.docs.part_text import find_about, find_example, format_settings
from tests.package_parts import find_parts

ROOT = Path(__file__).parents[2]
TOP_PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages at the top of the repository."""
    for page, source in TOP_PAGES.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replaces the markers of a page, and those of mkdocstrings, which GitHub would show."""
    markdown = re.sub(r"<!-- (::: [\w.]+) -->", r"\1", markdown)
    for marker, write in (("commands", format_commands), ("settings", format_parts)):
        if f"<!-- {marker} -->" in markdown:
            markdown = markdown.replace(f"<!-- {marker} -->", "\n\n".join(write()))
    return markdown


def format_commands() -> Iterator[str]:
    """Yields the help of every command: how it is called, its arguments and its options."""
    group = typer.main.get_command(app)
    for path, command in list_commands(group, "ablate"):
        context = click.Context(command, info_name=path)
        yield f"## {path}"
        yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
        yield re.sub(r"\s+", " ", command.help or "")
        yield "\n".join(["| option | is |", "|---|---|", *format_options(command, context)])


def list_commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields commands and those in groups, each with the words that call it."""
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        yield path, command
    for name, subcommand in subcommands.items():
        yield from list_commands(subcommand, f"{path} {name}")


def format_options(command: Any, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        names, about = parameter.get_help_record(context) or ("", "")
        if names:
            yield f"| `{names.strip()}` | {' '.join(about.split())} |".replace(
                "[default:", "\\[default:"
            )


def format_parts() -> Iterator[str]:
    """Yields the documentation of every part, under the setting's kind."""
    kinds: dict[str, list[type]] = {}
    for part in find_parts():
        [*_, kind] = [base for base in part.__mro__ if base.__name__.startswith("Abstract")] or [
            part
        ]
        kinds.setdefault(kind.__name__.removeprefix("Abstract"), []).append(part)
    for kind, parts in sorted(kinds.items()):
        yield f"## {kind}"
        for part in parts:
            path = get_class_path(part)
            yield f"### {path.rpartition('.')[2]}\n\n`{path}`"
            yield from filter(None, (find_about(part), format_settings(part)))
            if example := find_example(part):
                yield f"```yaml\n{example}\n```"
