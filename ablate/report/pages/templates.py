"""Pages are filled in from the templates beside this file; a page needs nothing but itself."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2


def render_template(
    template: str, named: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None
) -> str:
    """Fills in a template of this folder, escaping HTML; `filters` are added to Jinja's own.

    Raises `jinja2.UndefinedError` for a name that is not in `named`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(named)


def encode_png(picture: Path) -> str:
    """Returns a PNG as a `data:` address, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
