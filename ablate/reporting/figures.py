"""The pictures of a report: contrasts, seeds of each variant, learning curves.

Colours are those of Okabe and Ito, "Color universal design" (2008); what colour says, shape
or line says too. Figures are made without pyplot, so that no state is shared.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.reporting.curves import QUANTITIES, Curve
from ablate.reporting.rendering import MINUS, Table, number
from ablate.reporting.results import Results, label_of
from ablate.reporting.verdicts import Verdict
from ablate.reporting.wording import place, word_with_seeds

INK, QUIET, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
Line = Literal["-", "--", ":", "-."]
LINES: tuple[Line, ...] = ("-", "--", ":", "-.")
WORDS = {  # colour and marker
    "better": ("#0072B2", ">"),
    "worse": ("#D55E00", "<"),
    "equivalent": ("#009E73", "s"),
    "undecided": ("#6b6b6b", "o"),
    "differs": ("#CC79A7", "D"),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A finished figure with what it shows, for those who read and those who cannot see."""

    name: str  # of its files
    title: str
    caption: str
    svg: str
    png: bytes


def forest(results: Results, verdicts: Sequence[Verdict]) -> Picture | None:
    """Draws every contrast with its interval, against the margin of equivalence."""
    shown = _ordered(verdicts)
    if not shown:
        return None
    margin = results.plan["report"]["equivalence_margin"]
    with _style():
        figure = Figure(figsize=(9, 1.0 + 0.3 * len(shown)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-margin, margin, color="#eef3f0", zorder=0, linewidth=0)
        axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
        limit = _forest_limit(shown, margin)
        for row, verdict in enumerate(shown):
            _draw_contrast(axes, row, verdict, limit)
        axes.set_xlim(-limit, limit)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(range(len(shown)), [_forest_label(verdict) for verdict in shown])
        for tick, verdict in zip(axes.get_yticklabels(), shown, strict=True):
            if verdict.contrast.family == "within":
                tick.set(color=QUIET, fontsize=9)
        axes.set_xlabel("difference in points (right of zero: the first named is better)")
        _bare(axes, grid="x")
        return _finished(
            figure,
            name="contrasts",
            title="Contrasts",
            caption="Difference with its uncorrected interval; words are Holm-corrected. The "
            f"band is the margin of equivalence, {margin:g} points either way. Small: the same "
            "contrast within one combination. An arrow: the interval goes on.",
        )


def dots(results: Results, variants: Table) -> Picture | None:
    """Draws each seed of each variant, its mean and interval, and the two references."""
    rows = list(zip(results.variants().items(), variants.rows, strict=True))
    if all(row["score"] is None for row in variants.rows):
        return None
    with _style():
        figure = Figure(figsize=(9, 1.5 + 0.42 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place_, ((_, trials), row) in enumerate(rows):
            scores = [trial.score for trial in trials if trial.score is not None]
            _draw_references(axes, place_, row["random_init"], row["mel_statistics"])
            if row["score_low"] is not None:
                ends = [row["score_low"], row["score_high"]]
                axes.plot(ends, [place_, place_], color=COLOURS[0], linewidth=2, zorder=2)
            offsets = [place_ - 0.18] * len(scores)
            axes.scatter(scores, offsets, s=16, color=COLOURS[0], alpha=0.6, linewidth=0, zorder=3)
            if row["score"] is not None:
                axes.scatter([row["score"]], [place_], s=46, marker="D", color=COLOURS[0], zorder=4)
        _keep_in_view(axes, variants)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [label_of(levels) for (levels, _), _ in rows])
        axes.set_xlabel("score, percent")
        _bare(axes, grid="x")
        figure.legend(
            handles=_dots_legend(), loc="outside upper left", ncols=5, frameon=False, fontsize=9
        )
        return _finished(
            figure,
            name="variants",
            title="Scores by variant",
            caption="Small dots are pre-training seeds; diamond and bar are their mean and its "
            "Student-t interval. Ticks: the same encoder at random init, and log-mel statistics "
            "without any encoder.",
        )


def learning_curves(results: Results, curves: Sequence[Curve]) -> Picture | None:
    """Draws loss, position loss and effective rank by step, a line for each variant."""
    quantities = [name for name in QUANTITIES if any(c.quantity == name for c in curves)]
    if not quantities:
        return None
    styles = _line_styles(results)
    with _style():
        figure = Figure(figsize=(3.4 * len(quantities) + 0.4, 3.4), layout="constrained")
        panels = figure.subplots(1, len(quantities), squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            for curve in (curve for curve in curves if curve.quantity == quantity):
                colour, line = styles[curve.levels]
                for seed in curve.seeds:
                    axes.plot(*zip(*seed, strict=True), color=colour, alpha=0.25, linewidth=0.7)
                if mean := curve.mean:
                    xs, ys = zip(*mean, strict=True)
                    axes.plot(xs, ys, color=colour, linestyle=line, linewidth=1.8)
            axes.set_title(QUANTITIES[quantity], fontsize=10, loc="left")
            axes.set_xlabel("step")
            _bare(axes, grid="y")
        shown = list(dict.fromkeys(curve.levels for curve in curves))
        handles = [
            Line2D([], [], color=styles[levels][0], linestyle=styles[levels][1], linewidth=1.8)
            for levels in shown
        ]
        figure.legend(
            handles,
            [label_of(levels) for levels in shown],
            loc="outside lower left",
            ncols=max(1, min(4, 100 // (8 + max(len(label_of(levels)) for levels in shown)))),
            frameon=False,
            fontsize=9,
        )
        return _finished(
            figure,
            name="learning",
            title="Learning curves",
            caption="Thick: mean over seeds; thin: each seed. The loss ranks nothing: it rises in "
            "healthy runs and falls in collapse.",
        )


def _ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Puts each pooled contrast before its own parts, and learning last."""
    of = [verdict for verdict in verdicts if verdict.estimate.mean is not None]
    keys = list(dict.fromkeys((v.contrast.factor, v.contrast.level) for v in of))
    order = {key: i for i, key in enumerate(keys)}
    return sorted(of, key=lambda v: order[v.contrast.factor, v.contrast.level])  # stable


def _forest_limit(shown: Sequence[Verdict], margin: float) -> float:
    """Chooses how far the axis reaches: one interval from two seeds must not flatten the rest."""
    halves = {id(v): ((v.estimate.high or 0) - (v.estimate.low or 0)) / 2 for v in shown}
    usual = 3 * median(halves.values())
    return 1.08 * max(
        1.2 * margin,
        1e-6,
        *(abs(v.estimate.mean or 0) + min(halves[id(v)], usual) for v in shown),
    )


def _forest_label(verdict: Verdict) -> str:
    contrast = verdict.contrast
    if contrast.family == "within":
        return place(contrast)
    if contrast.family == "learning":
        held = f", {place(contrast)}" if contrast.held else ""
        return f"trained {MINUS} random init{held}"
    return f"{contrast.level} {MINUS} {contrast.against}"


def _draw_contrast(axes: Axes, row: int, verdict: Verdict, limit: float) -> None:
    estimate = verdict.estimate
    colour, marker = WORDS[verdict.word.split()[0]]
    mean = estimate.mean or 0.0
    small = verdict.contrast.family == "within"
    if estimate.low is not None and estimate.high is not None:
        ends = [max(estimate.low, -limit), min(estimate.high, limit)]
        axes.plot(ends, [row, row], color=colour, linewidth=1.3 if small else 2.4, zorder=2)
        for end, out, arrow in (
            (-limit, estimate.low < -limit, "<"),
            (limit, estimate.high > limit, ">"),
        ):
            if out:
                axes.plot([end], [row], marker=arrow, color=colour, markersize=5, clip_on=False)
    axes.plot([mean], [row], marker=marker, color=colour, markersize=5 if small else 8, zorder=3)
    axes.text(
        1.02,
        row,
        f"{number(mean, signed=True)}  {word_with_seeds(verdict)}",
        transform=axes.get_yaxis_transform(),
        va="center",
        color=INK if not small else QUIET,
        fontsize=10 if not small else 9,
    )


def _draw_references(
    axes: Axes, row: int, random_init: float | None, mel_statistics: float | None
) -> None:
    for value, line, colour in ((random_init, "-", QUIET), (mel_statistics, ":", COLOURS[1])):
        if value is not None:
            ends = [row - 0.34, row + 0.34]
            axes.plot([value, value], ends, color=colour, linestyle=line, linewidth=1.6, zorder=1)


def _keep_in_view(axes: Axes, variants: Table) -> None:
    """Limits the axis to scores and references; an interval from two seeds may leave it."""
    values = [
        row[name]
        for row in variants.rows
        for name in ("score", "random_init", "mel_statistics")
        if row[name] is not None
    ]
    room = max(max(values) - min(values), 2.0)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, min(values) - room), min(high, max(values) + room))


def _dots_legend() -> list[Line2D]:
    blue = COLOURS[0]
    return [
        Line2D([], [], marker="o", linestyle="", color=blue, alpha=0.6, markersize=4, label="seed"),
        Line2D([], [], marker="D", color=blue, linewidth=2, markersize=6, label="mean, interval"),
        Line2D([], [], color=QUIET, linewidth=1.6, label="random init"),
        Line2D([], [], color=COLOURS[1], linestyle=":", linewidth=1.6, label="mel statistics"),
    ]


def _line_styles(results: Results) -> dict[tuple[str, ...], tuple[str, Line]]:
    """Gives the first factor's levels a colour each, and the rest of a variant a line."""
    colours: dict[str, str] = {}
    lines: dict[tuple[str, ...], Line] = {}
    styles = {}
    for levels in results.variants():
        first, rest = (levels[0], levels[1:]) if levels else ("", ())
        colour = colours.setdefault(first, COLOURS[len(colours) % len(COLOURS)])
        styles[levels] = (colour, lines.setdefault(rest, LINES[len(lines) % len(LINES)]))
    return styles


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.hashsalt": "ablate",  # else every save draws new identifiers
            "svg.fonttype": "none",  # text stays text: it can be searched, selected, read aloud
            "text.parse_math": False,  # a level may be called anything
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.edgecolor": QUIET,
            "axes.labelcolor": INK,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "figure.facecolor": "white",
        }
    )


def _bare(axes: Axes, *, grid: Literal["x", "y"]) -> None:
    axes.grid(visible=True, axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left" if grid == "x" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def _finished(figure: Figure, *, name: str, title: str, caption: str) -> Picture:
    svg, png = io.StringIO(), io.BytesIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    figure.savefig(svg, format="svg", metadata=nothing, bbox_inches="tight", pad_inches=0.08)
    figure.savefig(
        png,
        format="png",
        dpi=160,
        metadata={"Software": None},
        bbox_inches="tight",
        pad_inches=0.08,
    )
    return Picture(name=name, title=title, caption=caption, svg=svg.getvalue(), png=png.getvalue())
