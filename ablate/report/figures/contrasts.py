"""Draws the forest plot of all contrasts, and the scores of every seed of every variant."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.style import (
    COLOURS,
    EQUIVALENCE_FILL,
    GREY,
    INK,
    VERDICT_MARKERS,
    Picture,
    remove_frame,
    save_picture,
    use_style,
    wrap_label,
)
from ablate.report.pages.sentences import ABSOLUTE, format_scope, format_verdict
from ablate.report.pages.table import MINUS, PLUS_MINUS, Row, Table, format_number
from ablate.report.results import Results, TrialResult, format_variant
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.statistics import Estimate

REFERENCES = {"random_init": (GREY, "-"), "mel_statistics": (COLOURS[1], ":")}  # colour, line
PANELS = {"": "", "learning": "did it learn?", "untrained": "against baselines without training"}
LABEL_WIDTH = 40  # characters per line of a label


def draw_forest(results: Results, verdicts: Sequence[Verdict]) -> Picture | None:
    """Draws every contrast with its intervals, in points, and the equivalence margin.

    Contrasts with a random init or another baseline without training, which concern no factor, are
    drawn below on axes of their own. None if no contrast has a score on both sides.
    """
    rows = _build_rows(verdicts)
    panels = [[row for row in rows if row.panel == panel] for panel in PANELS]
    panels = [panel for panel in panels if panel]
    if not panels:
        return None
    margin = results.plan.report.equivalence_margin
    coverage = format_coverage(*(row.verdict.interval_alpha for row in rows))
    with use_style():
        row_height = 0.42 if any("\n" in row.label for row in rows) else 0.3
        height = 0.3 + 0.75 * len(panels) + row_height * len(rows)
        figure = Figure(figsize=(9, height), layout="constrained")
        heights = [len(panel) + 0.2 for panel in panels]
        all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel, margin)
        all_axes[0].text(
            0,
            1.0,
            f"equivalent {PLUS_MINUS} {margin:g}",
            transform=all_axes[0].get_xaxis_transform(),
            ha="center",
            va="bottom",
            color=GREY,
            fontsize=9,
        )
        return save_picture(
            figure,
            name="contrasts",
            title="Contrasts",
            caption=f"Thick: uncorrected {coverage} intervals. Thin: corrected for the number of "
            "contrasts that are corrected together. Holm applies the full correction only to the "
            "smallest p-value, so a contrast can be significant although its thin interval "
            f"includes zero. Shaded: the equivalence margin, {margin:g} points to either side. "
            "Small: the same contrast within one combination; better and worse also require the "
            "pooled contrast or its interaction to be significant. An arrow marks an interval "
            "that extends beyond the axis.",
        )


def draw_scores(results: Results, variants: Table) -> Picture | None:
    """Draws each seed of each variant, the mean with its interval, and both references, in percent.

    `variants` is the table of the same results. None without any score.
    """
    rows = list(zip(results.variants().items(), variants.rows, strict=True))
    if all(row["score"] is None for row in variants.rows):
        return None
    with use_style():
        figure = Figure(figsize=(9, 1.5 + 0.42 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for y, ((_, trials), row) in enumerate(rows):
            _draw_seeds(axes, y, trials)
            if row["score_low"] is not None:
                ends = [row["score_low"], row["score_high"]]
                axes.plot(ends, [y, y], color=COLOURS[0], linewidth=2, zorder=2)
            if row["score"] is not None:
                axes.scatter([row["score"]], [y], s=46, marker="D", color=COLOURS[0], zorder=4)
        drawn = [_draw_reference(axes, name, variants.rows) for name in REFERENCES]
        _set_score_limits(axes, variants)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(
            range(len(rows)),
            [wrap_label(format_variant(levels), LABEL_WIDTH) for (levels, _), _ in rows],
        )
        axes.set_xlabel("score, percent")
        remove_frame(axes, grid="x")
        handles = [*_build_legend(), *(line for line in drawn if line is not None)]
        figure.legend(handles=handles, loc="outside upper left", ncols=5, frameon=False, fontsize=9)
        return save_picture(
            figure,
            name="variants",
            title="Scores by variant",
            caption="Small dots are pre-training seeds; diamond and bar are their mean and its "
            f"Student-t {format_coverage(results.plan.report.alpha)} interval. Random init: "
            "the same encoder before training, with a small tick per seed. Mel statistics: the "
            "same probe on the log-mel bands, pooled as the encoder's tokens are. "
            "A line through all rows: the same value in each.",
        )


@dataclass(frozen=True)
class _ForestRow:
    """One row of the forest plot."""

    verdict: Verdict
    strict: Estimate  # with the interval at the strictest level of the family

    @property
    def is_small(self) -> bool:
        """Whether the row is a contrast within a combination, drawn below the pooled one."""
        return self.verdict.contrast.family == "within"

    @property
    def panel(self) -> str:
        """The family of the rows that share an axis; empty for contrasts between variants."""
        family = self.verdict.contrast.family
        return family if family in ABSOLUTE else ""

    @property
    def marker_style(self) -> tuple[str, str]:
        """The colour and the marker; contrasts with a baseline without training are grey."""
        colour, marker = VERDICT_MARKERS[self.verdict.word.split()[0]]
        return GREY if self.panel else colour, marker

    @property
    def label(self) -> str:
        """The name of the contrast, broken into lines."""
        return wrap_label(_format_label(self.verdict.contrast), LABEL_WIDTH)


def _build_rows(verdicts: Sequence[Verdict]) -> list[_ForestRow]:
    """Builds the rows of contrasts that have a difference, each pooled one before its parts."""
    sizes = Counter(verdict.contrast.family for verdict in verdicts)
    keys = [(v.contrast.factor, v.contrast.level) for v in verdicts]
    rows = []
    for _, verdict in sorted(  # stable
        zip(keys, verdicts, strict=True), key=lambda pair: keys.index(pair[0])
    ):
        contrast = verdict.contrast
        if verdict.estimate.mean is not None:
            # level that Holm requires of the smallest p-value
            strictest = verdict.interval_alpha / sizes[contrast.family]
            rows.append(_ForestRow(verdict, contrast.estimate(alpha=strictest)))
    return rows


def _format_label(contrast: Contrast) -> str:
    if contrast.family == "within":
        return f"with {format_scope(contrast)}"
    if contrast.family == "learning":
        held = f", {format_scope(contrast)}" if contrast.fixed_levels else ""
        return f"trained {MINUS} random init{held}"
    fresh = ", fresh seeds" if contrast.family == "confirmation" else ""
    return f"{contrast.level} {MINUS} {contrast.against}{fresh}"


def _draw_panel(axes: Axes, rows: Sequence[_ForestRow], margin: float) -> None:
    """Draws contrasts below each other on one axis."""
    axes.axvspan(-margin, margin, color=EQUIVALENCE_FILL, zorder=0, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    limits = _compute_limits(rows, margin)
    for y, row in enumerate(rows):
        _draw_row(axes, y, row, limits)
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.is_small:
            tick.set(color=GREY, fontsize=9)
    if rows[0].panel:
        axes.set_title(PANELS[rows[0].panel], fontsize=10, loc="left")
        axes.set_xlabel("difference in points")
    else:
        axes.set_xlabel("difference in points (right of zero: the first is better)")
    remove_frame(axes, grid="x")


def _compute_limits(rows: Sequence[_ForestRow], margin: float) -> tuple[float, float]:
    """Computes the axis limits; a single very wide interval must not compress the others."""
    halves = [((row.strict.high or 0) - (row.strict.low or 0)) / 2 for row in rows]
    max_reach = 3 * median(halves)
    middles = [row.verdict.estimate.mean or 0.0 for row in rows]
    reaches = [min(half, max_reach) for half in halves]
    low = min(-margin, *(m - reach for m, reach in zip(middles, reaches, strict=True)))
    high = max(margin, *(m + reach for m, reach in zip(middles, reaches, strict=True)))
    padding = max(0.05 * (high - low), 1e-6)
    return low - padding, high + padding


def _draw_row(axes: Axes, y: int, row: _ForestRow, limits: tuple[float, float]) -> None:
    estimate, (colour, marker), small = row.verdict.estimate, row.marker_style, row.is_small
    thick, thin = (1.6, 0.7) if small else (2.8, 1.0)
    for drawn, width in ((row.strict, thin), (estimate, thick)):
        if drawn.low is not None and drawn.high is not None:
            ends = [max(drawn.low, limits[0]), min(drawn.high, limits[1])]
            axes.plot(ends, [y, y], color=colour, linewidth=width, zorder=2)
    if row.strict.low is not None and row.strict.high is not None:
        for end, out, arrow in (
            (limits[0], row.strict.low < limits[0], "<"),
            (limits[1], row.strict.high > limits[1], ">"),
        ):
            if out:
                axes.plot([end], [y], marker=arrow, color=colour, markersize=5, clip_on=False)
    mean = estimate.mean or 0.0
    axes.plot([mean], [y], marker=marker, color=colour, markersize=5 if small else 8, zorder=3)
    axes.text(
        1.02,
        y,
        f"{format_number(mean, signed=True)}  {format_verdict(row.verdict)}",
        transform=axes.get_yaxis_transform(),
        va="center",
        color=INK if not small else GREY,
        fontsize=10 if not small else 9,
    )


def _draw_seeds(axes: Axes, y: int, trials: Sequence[TrialResult]) -> None:
    """Draws the seeds' scores slightly above the row's centre, those at random init below it."""
    scores = [trial.score for trial in trials if trial.score is not None]
    before = [trial.random_init_score for trial in trials if trial.random_init_score is not None]
    blue = COLOURS[0]
    axes.scatter(
        scores, [y - 0.18] * len(scores), s=16, color=blue, alpha=0.6, linewidth=0, zorder=3
    )
    axes.scatter(before, [y + 0.18] * len(before), s=22, marker="|", color=GREY, linewidth=0.7)


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
    else:
        for y, value in present:
            axes.plot([value, value], [y - 0.34, y + 0.34], **line_style)
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
