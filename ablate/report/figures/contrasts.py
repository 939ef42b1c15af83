"""Draws the forest plot of all contrasts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablate.report.figures.style import (
    EQUIVALENCE_FILL,
    GREY,
    INK,
    MAX_NARROW_ROWS,
    NARROW_CHARACTERS,
    VERDICT_MARKERS,
    FigureLayout,
    Picture,
    remove_frame,
    save_picture,
    shorten,
    wrap_label,
)
from ablate.report.pages.claims import format_scope
from ablate.report.pages.sentences import ABSOLUTE, format_verdict
from ablate.report.pages.table import MINUS, PLUS_MINUS, format_number
from ablate.report.results import Results
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.statistics import Estimate

PANELS = {"": "", "learning": "did it learn?", "untrained": "against baselines without training"}
LABEL_WIDTH = 40  # characters per line of a label
MAX_ROWS = 120  # more rows make a forest plot unreadable


def draw_forest(results: Results, verdicts: Sequence[Verdict]) -> Picture | None:
    """Draws every contrast with its intervals, in points, and the equivalence margin.

    Contrasts with a random init or another baseline without training, which concern no factor, are
    drawn below on axes of their own. With more than `MAX_ROWS` rows, contrasts within a combination
    and with other baselines are left out. None if no contrast has a score on both sides.
    """
    every_row = _build_rows(verdicts)
    is_long = len(every_row) > MAX_ROWS
    rows = [row for row in every_row if not (is_long and (row.is_small or row.is_per_variant))]
    panels = [[row for row in rows if row.panel == panel] for panel in PANELS]
    panels = [panel for panel in panels if panel]
    if not panels:
        return None
    margin = results.plan.report.equivalence_margin
    levels = [row.verdict.interval_alpha for row in rows]
    coverage = format_coverage(*levels)
    narrow = format_coverage(*(2 * level for level in levels))
    return save_picture(
        lambda layout: _draw_figure(panels, margin, layout),
        name="contrasts",
        has_narrow=len(rows) <= MAX_NARROW_ROWS,
        title="Contrasts",
        caption=f"Thick: uncorrected {coverage} intervals. Thin: corrected for the number of "
        "contrasts that are corrected together. Holm applies the full correction only to the "
        "smallest p-value, so a contrast can be significant although its thin interval "
        f"includes zero. Shaded: the equivalence margin, {margin:g} points to either side; "
        f"equivalent is decided by {narrow} intervals, so a thick one may reach beyond it. "
        + (
            f"The tables also have {len(every_row) - len(rows)} contrasts within a combination or "
            "with a baseline without training. "
            if is_long
            else "Small: the same contrast within one combination; better and worse also require "
            "the pooled contrast or its interaction to be significant. "
        )
        + "An arrow marks an interval that extends beyond the axis.",
    )


@dataclass(frozen=True)
class _ForestRow:
    """One row of the forest plot."""

    verdict: Verdict
    strict: Estimate  # with the interval at the strictest level of the family

    @property
    def is_per_variant(self) -> bool:
        """Whether there is such a row for each variant."""
        return self.panel == "untrained"

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

    @property
    def outcome(self) -> str:
        """The difference and the verdict, without the number of seeds that would settle it."""
        mean = format_number(self.verdict.estimate.mean or 0.0, signed=True)
        return f"{mean}  {format_verdict(self.verdict).split(':')[0]}"


def _build_rows(verdicts: Sequence[Verdict]) -> list[_ForestRow]:
    """Builds the rows of contrasts that have a difference, each pooled one before its parts."""
    sizes = Counter(verdict.contrast.family for verdict in verdicts)
    keys = [(v.contrast.factor, v.contrast.level) for v in verdicts]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    rows = []
    for _, verdict in sorted(  # stable
        zip(keys, verdicts, strict=True), key=lambda pair: order[pair[0]]
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


def _draw_figure(panels: Sequence[list[_ForestRow]], margin: float, layout: FigureLayout) -> Figure:
    """Draws the panels below each other; the second has the learning contrasts."""
    rows = [row for panel in panels for row in panel]
    row_height = 0.42 if layout.is_narrow or any("\n" in row.label for row in rows) else 0.3
    height = 0.3 + (1.0 if layout.is_narrow else 0.75) * len(panels) + row_height * len(rows)
    figure = Figure(figsize=(layout.width, height), layout="constrained")
    heights = [len(panel) + (0.5 if layout.is_narrow else 0.2) for panel in panels]
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel, margin, layout)
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
    return figure


def _draw_panel(
    axes: Axes, rows: Sequence[_ForestRow], margin: float, layout: FigureLayout
) -> None:
    """Draws contrasts below each other on one axis."""
    axes.axvspan(-margin, margin, color=EQUIVALENCE_FILL, zorder=0, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    limits = _compute_limits(rows, margin)
    _draw_intervals(axes, rows, limits)
    _draw_means(axes, rows)
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.4, -0.9 if layout.is_narrow else -0.6)
    label = _label_above if layout.is_narrow else _label_beside
    label(axes, rows)
    if rows[0].panel:
        axes.set_title(PANELS[rows[0].panel], fontsize=10, loc="left")
        axes.set_xlabel("difference in points")
    else:
        gap = "\n" if layout.is_narrow else " "
        axes.set_xlabel(f"difference in points{gap}(right of zero: the first is better)")
    remove_frame(axes, grid="x")


def _label_beside(axes: Axes, rows: Sequence[_ForestRow]) -> None:
    """Writes the contrast to the left of each row, and its outcome to the right."""
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row.is_small:
            tick.set(color=GREY, fontsize=9)
    for y, row in enumerate(rows):
        _write(axes, 1.02, y, row.outcome, row, ha="left")


def _label_above(axes: Axes, rows: Sequence[_ForestRow]) -> None:
    """Writes the contrast and its outcome above each row, or two lines if they are long."""
    axes.set_yticks([])
    for y, row in enumerate(rows):
        name, outcome = _format_label(row.verdict.contrast), row.outcome
        name = shorten(name, max(8, NARROW_CHARACTERS - len(outcome) - 2))
        _write(axes, 0.0, y - 0.45, name, row, ha="left")
        _write(axes, 1.0, y - 0.45, outcome, row, ha="right")


def _write(axes: Axes, x: float, y: float, text: str, row: _ForestRow, *, ha: str) -> None:
    """Writes at a share of the axis' width; contrasts within a combination are small and grey."""
    axes.text(
        x,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        ha=ha,
        va="center",
        color=GREY if row.is_small else INK,
        fontsize=9 if row.is_small else 10,
    )


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


def _draw_intervals(axes: Axes, rows: Sequence[_ForestRow], limits: tuple[float, float]) -> None:
    """Draws both intervals of each row, and arrows where they exceed the limits."""
    bars: dict[tuple[str, float], list[tuple[int, float, float]]] = {}  # colour, width -> intervals
    arrows: dict[tuple[str, str], list[tuple[float, int]]] = {}  # colour, marker -> places
    for y, row in enumerate(rows):
        colour, _ = row.marker_style
        thick, thin = (1.6, 0.7) if row.is_small else (2.8, 1.0)
        for drawn, width in ((row.strict, thin), (row.verdict.estimate, thick)):
            if drawn.low is not None and drawn.high is not None:
                ends = max(drawn.low, limits[0]), min(drawn.high, limits[1])
                bars.setdefault((colour, width), []).append((y, *ends))
        if row.strict.low is not None and row.strict.low < limits[0]:
            arrows.setdefault((colour, "<"), []).append((limits[0], y))
        if row.strict.high is not None and row.strict.high > limits[1]:
            arrows.setdefault((colour, ">"), []).append((limits[1], y))
    for (colour, width), intervals in bars.items():
        ys, lows, highs = zip(*intervals, strict=True)
        style: dict[str, Any] = {"linewidth": width, "capstyle": "projecting", "zorder": 2}
        axes.hlines(ys, lows, highs, colors=colour, **style)
    for (colour, marker), places in arrows.items():
        xs, ends_ys = zip(*places, strict=True)
        axes.plot(
            xs, ends_ys, linestyle="", marker=marker, color=colour, markersize=5, clip_on=False
        )


def _draw_means(axes: Axes, rows: Sequence[_ForestRow]) -> None:
    """Draws the difference of each row."""
    means: dict[tuple[str, str, bool], list[tuple[float, int]]] = {}
    for y, row in enumerate(rows):
        mean = row.verdict.estimate.mean or 0.0
        means.setdefault((*row.marker_style, row.is_small), []).append((mean, y))
    for (colour, marker, is_small), places in means.items():
        xs, ys = zip(*places, strict=True)
        size = 5 if is_small else 8
        axes.plot(xs, ys, linestyle="", marker=marker, color=colour, markersize=size, zorder=3)
