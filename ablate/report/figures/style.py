"""How every picture of a report is drawn: lines, bare axes, and the three files of each.

Figures are made without pyplot, so that no state is shared.
"""

import io
import math
import textwrap
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.palette import COLOURS, GREY, INK, LIGHT_GREY
from ablate.report.results import Results

LineStyle = Literal["-", "--", ":", "-."]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A finished figure with what it shows, for those who read and those who cannot see."""

    name: str  # of its files
    title: str
    caption: str
    svg: str  # for a browser
    png: bytes  # for a forge
    pdf: bytes  # for a paper


def assign_line_styles(results: Results) -> dict[tuple[str, ...], tuple[str, LineStyle]]:
    """Gives each variant a colour and a line.

    The first factor's levels have a colour each and the rest of a variant a line, as far as
    there are lines for that; else every variant takes the next of the 28 pairs. Two variants
    share both only where there are more than 28.
    """
    variants = list(results.variants())
    rounds = math.ceil(len({levels[:1] for levels in variants}) / len(COLOURS))
    lines = rounds * len({levels[1:] for levels in variants})
    split = 1 if lines <= len(LINE_STYLES) else len(results.factors)
    firsts = list(dict.fromkeys(levels[:split] for levels in variants))
    rests = list(dict.fromkeys(levels[split:] for levels in variants))
    styles = {}
    for levels in variants:
        first, rest = firsts.index(levels[:split]), rests.index(levels[split:])
        again = first // len(COLOURS)  # how often colours have begun anew
        line = LINE_STYLES[(rest + again * len(rests)) % len(LINE_STYLES)]
        styles[levels] = (COLOURS[first % len(COLOURS)], line)
    return styles


def wrap_label(label: str, width: int) -> str:
    """Breaks a long label into lines of at most that many letters."""
    return "\n".join(textwrap.wrap(label, width)) or label


def use_style() -> AbstractContextManager[None]:
    """Sets how figures look while it is entered."""
    return mpl.rc_context(
        {
            "pdf.fonttype": 42,  # journals refuse type 3
            "svg.hashsalt": "ablate",  # else every save draws new identifiers
            "svg.fonttype": "none",  # text stays text: it can be searched, selected, read aloud
            "text.parse_math": False,  # a level may be called anything
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": GREY,
            "axes.labelcolor": INK,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "figure.facecolor": "white",
        }
    )


def remove_frame(axes: Axes, *, grid: Literal["x", "y"]) -> None:
    """Takes the frame away but for the axis named `grid`, and draws that axis's grid lines."""
    axes.grid(visible=True, axis=grid, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left" if grid == "x" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def add_legend_below(figure: Figure, lines: Mapping[str, Line2D]) -> None:
    """Names lines below a figure, which grows by as much."""
    names = [wrap_label(name, 90) for name in lines]
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(4, 100 // (8 + longest)))
    rows = math.ceil(len(names) / columns) + sum(name.count("\n") for name in names)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * rows)
    figure.legend(
        [*lines.values()], names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9
    )


def save_picture(figure: Figure, *, name: str, title: str, caption: str) -> Picture:
    """Saves a figure as SVG, PNG (160 dots an inch) and PDF, without dates and versions.

    So the same figure gives the same bytes.
    """
    svg, png, pdf = io.StringIO(), io.BytesIO(), io.BytesIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    close: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08}
    figure.savefig(svg, format="svg", metadata=nothing, **close)
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None}, **close)
    undated = {"Creator": None, "Producer": None, "CreationDate": None}
    figure.savefig(pdf, format="pdf", metadata=undated, **close)
    return Picture(
        name=name,
        title=title,
        caption=caption,
        svg=svg.getvalue(),
        png=png.getvalue(),
        pdf=pdf.getvalue(),
    )
