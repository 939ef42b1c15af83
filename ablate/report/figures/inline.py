"""Puts a figure into an HTML page, in the colours of its light or dark theme."""

import re

from markupsafe import Markup, escape

from ablate.report.figures.style import COLOURS, EQUIVALENCE_FILL, GREY, INK, LIGHT_GREY, Picture

THEME = (
    {  # colour of the file -> variable of the page's style sheet
        INK: "ink",
        "#000000": "ink",
        GREY: "muted",
        LIGHT_GREY: "rule",
        EQUIVALENCE_FILL: "fill",
        "#ffffff": "paper",
    }
    | {colour: f"colour-{number}" for number, colour in enumerate(COLOURS[:-1])}
)
VARIABLES = {colour.lower(): f"var(--{name})" for colour, name in THEME.items()}


def inline_svg(picture: Picture) -> Markup:
    """Returns a figure for wide and for narrow screens as SVG within an HTML page."""
    svgs = {"both": picture.svg}
    if picture.narrow_svg is not None:
        svgs = {"wide": picture.svg, "narrow": picture.narrow_svg}
    label = escape(picture.title)
    return Markup("").join(
        Markup(
            _clean_svg(svg, picture.name if kind != "narrow" else f"{picture.name}-narrow").replace(
                "<svg", f'<svg class="{kind}" role="img" aria-label="{label}"', 1
            )
        )
        for kind, svg in svgs.items()
    )


def _clean_svg(svg: str, prefix: str) -> str:
    """Removes the XML header, replaces colours, and makes identifiers unique by a prefix."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    return re.sub(r'(?<=style=")[^"]*', _replace_colours, svg)


def _replace_colours(style: re.Match[str]) -> str:
    return re.sub(
        r"#[0-9a-f]{6}", lambda colour: VARIABLES.get(colour[0].lower(), colour[0]), style[0]
    )
