"""Renders the HTML templates of this folder, whose pages load no other file."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ablate.report.figures.inline import inline_svg
from ablate.report.pages.latex import write_latex_table

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def render_template(template: str, names: Mapping[str, Any]) -> str:
    """Renders a template of this folder with HTML escaping.

    Args:
        template: File name of the template.
        names: Values for the template.

    Raises:
        jinja2.UndefinedError: If the template uses a name that is not in `names`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        inline=inline_svg,
        download=encode_text,
        latex=write_latex_table,
        slug=format_anchor,
        keep_together=_keep_together,
        breakable=_allow_breaks,
    )
    return environment.get_template(template).render(names)


def _keep_together(cell: str) -> str:
    """Forbids line breaks in a number, except between a value and its interval."""
    return cell.replace(" ", NO_BREAK_SPACE).replace(f"{NO_BREAK_SPACE}[", " [")


def _allow_breaks(name: str) -> Markup:
    """Allows line breaks within the name of a score, such as `knn.concat_freq`."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))


def format_anchor(text: str) -> str:
    """Formats a text as an identifier within a page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def encode_text(text: str, kind: str) -> str:
    """Encodes a text file as a `data:` URL, for a download from a self-contained page."""
    return f"data:{kind};charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def encode_png(picture: Path) -> str:
    """Encodes a PNG file as a `data:` URL."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
