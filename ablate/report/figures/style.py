"""The style of all figures: colours, lines, axes, and saving as SVG, PNG and PDF.

The colours are those of Okabe and Ito, "Color universal design" (2008). Whatever a colour encodes
is also encoded by a marker, a line style or text. Figures are created without pyplot, so there is
no shared state.
"""

import io
import math
import textwrap
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import BboxBase

from ablate.report.results import Results

INK, GREY, LIGHT_GREY = "#222222", "#6b6b6b", "#d9d9d9"
EQUIVALENCE_FILL = "#eef3f0"  # background within the equivalence margin
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
VERDICT_MARKERS = {  # first word of a verdict -> colour, matplotlib marker
    "better": (COLOURS[0], ">"),
    "worse": (COLOURS[1], "<"),
    "equivalent": (COLOURS[2], "s"),
    "undecided": (GREY, "o"),
    "differs": (COLOURS[3], "D"),
}
MAX_LEGEND_CHARACTERS = 11.0  # per inch of a figure's width, in a legend of size 9
LineStyle = Literal["-", "--", ":", "-."]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
NARROW_CHARACTERS = 52  # in a line of a narrow figure, at size 10
PADDING_INCHES = 0.08  # around a figure
PNG_DPI = 160
MAX_PIXELS = 20_000_000  # per PNG: 80 MB while it is drawn


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as files, with its title and caption."""

    name: str  # file name without suffix
    title: str
    caption: str
    svg: str  # used by the HTML page
    narrow_svg: str | None  # the same for a narrow screen; None if that scrolls the wide one
    png: bytes  # used by the Markdown page
    pdf: bytes  # for papers


@dataclass(frozen=True, kw_only=True)
class FigureLayout:
    """The width that a figure is drawn for; on a narrow screen labels stand above their rows."""

    width: float  # inches, upper limit
    is_narrow: bool


WIDE = FigureLayout(width=9.0, is_narrow=False)
NARROW = FigureLayout(width=4.3, is_narrow=True)
MAX_NARROW_ROWS = 60  # a longer figure is not drawn a second time for narrow screens


def assign_line_styles(results: Results) -> dict[tuple[str, ...], tuple[str, LineStyle]]:
    """Assigns a colour and a line style to each variant.

    The levels of the first factor get a colour each, and the rest of a variant a line style, if
    there are enough line styles. Otherwise each variant gets the next of the 28 combinations; two
    variants share one only if there are more than 28.
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
        cycle = first // len(COLOURS)  # how often the colours have been used up
        line = LINE_STYLES[(rest + cycle * len(rests)) % len(LINE_STYLES)]
        styles[levels] = (COLOURS[first % len(COLOURS)], line)
    return styles


def wrap_label(label: str, width: int) -> str:
    """Breaks a long label into lines of at most `width` characters."""
    return "\n".join(textwrap.wrap(label, width)) or label


def shorten(text: str, num_letters: int) -> str:
    """Cuts a text that is longer than `num_letters`, and marks the cut."""
    return text if len(text) <= num_letters else f"{text[: num_letters - 1]}\N{HORIZONTAL ELLIPSIS}"


def use_style() -> AbstractContextManager[None]:
    """Returns a context in which figures are drawn in the style of the reports."""
    return mpl.rc_context(
        {
            "pdf.fonttype": 42,  # TrueType: journals reject type 3 fonts
            "svg.hashsalt": "ablate",  # fixed identifiers: the same figure gives the same bytes
            "svg.fonttype": "none",  # text as text: searchable, selectable, accessible
            "text.parse_math": False,  # the name of a level may contain `$`
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
    """Removes the frame except for the axis `grid`, and draws the grid lines of that axis."""
    axes.grid(visible=True, axis=grid, color=LIGHT_GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left" if grid == "x" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def add_legend_below(
    figure: Figure, lines: Mapping[str, Line2D], layout: FigureLayout = WIDE
) -> None:
    """Adds a legend below a figure and enlarges the figure accordingly."""
    fitting = int(MAX_LEGEND_CHARACTERS * layout.width)
    names = [wrap_label(name, fitting - 9) for name in lines]
    longest = max(len(line) for name in names for line in name.split("\n"))
    columns = max(1, min(4, fitting // (8 + longest)))
    rows = math.ceil(len(names) / columns) + sum(name.count("\n") for name in names)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * rows)
    figure.legend(
        [*lines.values()], names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9
    )


def save_picture(
    draw: Callable[[FigureLayout], Figure],
    *,
    name: str,
    title: str,
    caption: str,
    has_narrow: bool = True,
) -> Picture:
    """Draws a figure in both layouts, and saves it as SVG; the wide one as PNG and PDF, too.

    Without `has_narrow`, a narrow screen shows a part of the wide figure and scrolls. PNG has 160
    dpi, fewer if it is very large. Dates and versions are left out, so the same figure gives the
    same bytes.
    """
    png, pdf = io.BytesIO(), io.BytesIO()
    with use_style():
        figure, narrow = draw(WIDE), draw(NARROW) if has_narrow else None
        box = _fix_layout(figure)
        svg = _save_svg(figure, box)
        narrow_svg = None if narrow is None else _save_svg(narrow, _fix_layout(narrow))
        dpi = min(PNG_DPI, math.sqrt(MAX_PIXELS / (box.width * box.height)))
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches=box)
        undated = {"Creator": None, "Producer": None, "CreationDate": None}
        figure.savefig(pdf, format="pdf", metadata=undated, bbox_inches=box)
    return Picture(
        name=name,
        title=title,
        caption=caption,
        svg=svg,
        narrow_svg=narrow_svg,
        png=png.getvalue(),
        pdf=pdf.getvalue(),
    )


def _fix_layout(figure: Figure) -> BboxBase:
    """Computes the layout once and not for each format; returns the extent in inches."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    return figure.get_tightbbox().padded(PADDING_INCHES)


def _save_svg(figure: Figure, box: BboxBase) -> str:
    svg = io.StringIO()
    no_metadata = {"Creator": None, "Date": None, "Format": None, "Type": None}
    figure.savefig(svg, format="svg", metadata=no_metadata, bbox_inches=box)
    return svg.getvalue()
