"""Draws the score of every seed of every variant, with its means and references."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.style import (
    COLOURS,
    GREY,
    MAX_NARROW_ROWS,
    NARROW_CHARACTERS,
    FigureLayout,
    Picture,
    remove_frame,
    save_picture,
    shorten,
    wrap_label,
)
from ablate.report.pages.table import Row, Table
from ablate.report.results import Results, TrialResult, format_variant
from ablate.report.stats.decision_rules import format_coverage

REFERENCES = {"random_init": (GREY, "-"), "mel_statistics": (COLOURS[1], ":")}  # colour, line
LABEL_WIDTH = 40  # characters per line of a label
VariantRow = tuple[tuple[tuple[str, ...], Sequence[TrialResult]], Row]


def draw_scores(results: Results, variants: Table) -> Picture | None:
    """Draws each seed of each variant, the mean with its interval, and both references, in percent.

    `variants` is the table of the same results. None without any score.
    """
    rows: list[VariantRow] = list(zip(results.variants().items(), variants.rows, strict=True))
    if all(row["score"] is None for row in variants.rows):
        return None
    return save_picture(
        lambda layout: _draw_figure(rows, variants, layout),
        name="variants",
        has_narrow=len(rows) <= MAX_NARROW_ROWS,
        title="Scores by variant",
        caption="Small dots are pre-training seeds; diamond and bar are their mean and its "
        f"Student-t {format_coverage(results.plan.report.alpha)} interval. Random init: "
        "the same encoder before training, with a small tick per seed. Mel statistics: the "
        "same probe on the log-mel bands, pooled as the encoder's tokens are. "
        "A line through all rows: the same value in each.",
    )


def _draw_figure(rows: Sequence[VariantRow], variants: Table, layout: FigureLayout) -> Figure:
    """Draws one row per variant; on a narrow screen, its name stands above it."""
    row_height = 0.55 if layout.is_narrow else 0.42
    figure = Figure(figsize=(layout.width, 1.5 + row_height * len(rows)), layout="constrained")
    axes = figure.subplots()
    _draw_seeds(axes, [trials for (_, trials), _ in rows])
    _draw_means(axes, variants.rows)
    drawn = [_draw_reference(axes, name, variants.rows) for name in REFERENCES]
    _set_score_limits(axes, variants)
    axes.set_ylim(len(rows) - 0.4, -0.8 if layout.is_narrow else -0.6)
    names = [format_variant(levels) for (levels, _), _ in rows]
    if layout.is_narrow:
        axes.set_yticks([])
        for y, name in enumerate(names):
            name = shorten(name, NARROW_CHARACTERS)
            axes.text(0, y - 0.45, name, transform=axes.get_yaxis_transform(), va="center")
    else:
        axes.set_yticks(range(len(rows)), [wrap_label(name, LABEL_WIDTH) for name in names])
    axes.set_xlabel("score, percent")
    remove_frame(axes, grid="x")
    handles = [*_build_legend(), *(line for line in drawn if line is not None)]
    columns = 2 if layout.is_narrow else 5
    figure.legend(
        handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=9
    )
    return figure


def _draw_seeds(axes: Axes, variants: Sequence[Sequence[TrialResult]]) -> None:
    """Draws the seeds' scores slightly above each row's centre, those at random init below it."""
    trials = [(y, trial) for y, of_variant in enumerate(variants) for trial in of_variant]
    scores = [(trial.score, y - 0.18) for y, trial in trials if trial.score is not None]
    before = [
        (trial.random_init_score, y + 0.18)
        for y, trial in trials
        if trial.random_init_score is not None
    ]
    dots: dict[str, Any] = {"s": 16, "color": COLOURS[0], "alpha": 0.6, "linewidth": 0, "zorder": 3}
    ticks: dict[str, Any] = {"s": 22, "marker": "|", "color": GREY, "linewidth": 0.7}
    for points, style in ((scores, dots), (before, ticks)):
        axes.scatter([x for x, _ in points], [y for _, y in points], **style)


def _draw_means(axes: Axes, rows: Sequence[Row]) -> None:
    """Draws the mean of each row as a diamond, and its interval as a bar."""
    bars = [(y, row) for y, row in enumerate(rows) if row["score_low"] is not None]
    axes.hlines(
        [y for y, _ in bars],
        [row["score_low"] for _, row in bars],
        [row["score_high"] for _, row in bars],
        colors=COLOURS[0],
        linewidths=2,
        zorder=2,
    )
    means = [(row["score"], y) for y, row in enumerate(rows) if row["score"] is not None]
    xs, ys = zip(*means, strict=True)
    axes.scatter(xs, ys, s=46, marker="D", color=COLOURS[0], zorder=4)


def _draw_reference(axes: Axes, name: str, rows: Sequence[Row]) -> Line2D | None:
    """Draws a reference in each row, or as one line through all rows if it is the same in all.

    Returns its line for the legend; None if no row has it.
    """
    colour, line = REFERENCES[name]
    values = [row[name] for row in rows]
    present = [(y, value) for y, value in enumerate(values) if value is not None]
    line_style: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 1.6, "zorder": 1}
    if len(set(values)) == 1 and present:
        axes.axvline(values[0], **line_style)
    elif present:
        lows, highs = ([y + half for y, _ in present] for half in (-0.34, 0.34))
        axes.vlines([value for _, value in present], lows, highs, **line_style)
    return Line2D([], [], label=name.replace("_", " "), **line_style) if present else None


def _set_score_limits(axes: Axes, variants: Table) -> None:
    """Limits the axis to scores and references; a very wide interval may exceed it."""
    values = [
        row[name]
        for row in variants.rows
        for name in ("score", "random_init", "mel_statistics")
        if row[name] is not None
    ]
    padding = max(max(values) - min(values), 2.0)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, min(values) - padding), min(high, max(values) + padding))


def _build_legend() -> list[Line2D]:
    blue = COLOURS[0]
    return [
        Line2D([], [], marker="o", linestyle="", color=blue, alpha=0.6, markersize=4, label="seed"),
        Line2D([], [], marker="D", color=blue, linewidth=2, markersize=6, label="mean, interval"),
    ]
