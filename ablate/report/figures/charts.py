"""Draws scores by combination (interactions), by cost (Pareto front) and by rank over tasks."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.highlights import choose_highlights, describe_highlights
from ablate.report.figures.style import (
    COLOURS,
    GREY,
    INK,
    LINE_STYLES,
    FigureLayout,
    Picture,
    add_legend_below,
    remove_frame,
    save_picture,
    wrap_label,
)
from ablate.report.pages.table import Row, Table, format_amount, format_p
from ablate.report.results import Results, format_variant, get_factor_column
from ablate.report.stats.ranks import Ranking

COST_MEASURES = {"flops": "FLOPs", "seconds": "seconds", "steps": "steps"}  # by preference
MIN_FRONT_VARIANTS = 3  # with two, the verdict is sufficient
COST_TOLERANCE = 0.01  # relative difference up to which costs count as equal
MAX_NARROW_COMBINATIONS = 12  # side by side on a narrow screen
MARKERS = ("o", "s", "^", "D")  # one per line style


def draw_interactions(results: Results, variants: Table) -> Picture | None:
    """Draws the score of each level of the first factor over the combinations of the others.

    None with fewer than two levels or two combinations with a score.
    """
    factors = [get_factor_column(factor) for factor in results.factors]
    rows = [row for row in variants.rows if row["score"] is not None]
    combinations = list(dict.fromkeys(tuple(row[name] for name in factors[1:]) for row in rows))
    levels = list(dict.fromkeys(row[factors[0]] for row in rows)) if factors else []
    if len(combinations) < 2 or len(levels) < 2:
        return None
    names = [wrap_label(level, 28) for level in levels]
    letters = max(len(line) for name in names for line in name.split("\n"))
    width = max(3.0, 1.5 * len(combinations)) + 0.9 + 0.085 * letters

    def draw(layout: FigureLayout) -> Figure:
        size = (min(width, layout.width) if layout.is_narrow else width, 3.6)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for number, level in enumerate(levels):
            level_rows = [row for row in rows if row[factors[0]] == level]
            offset = 0.16 * (number / (len(levels) - 1) - 0.5)
            xs = [
                combinations.index(tuple(row[name] for name in factors[1:])) + offset
                for row in level_rows
            ]
            _draw_level(axes, xs, level_rows, number, names[number])
        _set_score_limits(axes, rows)
        width_per_label = 40 // len(combinations) if layout.is_narrow else 18
        axes.set_xticks(
            range(len(combinations)),
            [wrap_label(", ".join(labels), max(width_per_label, 6)) for labels in combinations],
        )
        axes.set_ylabel("score, percent")
        axes.set_xlim(-0.4, len(combinations) - 0.6)
        remove_frame(axes, grid="y")
        figure.legend(
            loc="outside lower left" if layout.is_narrow else "outside right upper",
            frameon=False,
            fontsize=9,
            title=results.factors[0],
        )
        return figure

    return save_picture(
        draw,
        name="interactions",
        has_narrow=len(combinations) <= MAX_NARROW_COMBINATIONS,
        title="Levels by combination",
        caption="Mean score over seeds with its Student-t interval, uncorrected. Lines that "
        "are not parallel indicate an interaction; the table shows whether it is significant.",
    )


def _draw_level(
    axes: Axes, xs: Sequence[float], rows: Sequence[Row], number: int, name: str
) -> None:
    """Draws the scores and intervals of one level; `number` selects colour and line style."""
    colour, line = (
        COLOURS[number % len(COLOURS)],
        LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)],
    )
    axes.plot(xs, [row["score"] for row in rows], color=colour, linestyle=line, marker="o")
    bars = [(x, row) for x, row in zip(xs, rows, strict=True) if row["score_low"] is not None]
    axes.vlines(
        [x for x, _ in bars],
        [row["score_low"] for _, row in bars],
        [row["score_high"] for _, row in bars],
        colors=colour,
        linewidth=1,
        alpha=0.6,
        capstyle="projecting",
    )
    axes.plot([], [], color=colour, linestyle=line, marker="o", label=name)


def draw_cost(results: Results, variants: Table, cost: Table) -> Picture | None:
    """Draws each variant's score against the cost of a run, and marks the Pareto front.

    The cost is the first of `COST_MEASURES` that all variants have. None if there is none, if all
    costs are equal, or with fewer than three scores. `variants` and `cost` are tables in the order
    of the results' variants.
    """
    measure = next((name for name in COST_MEASURES if all(row[name] for row in cost.rows)), None)
    scored = [row for row in variants.rows if row["score"] is not None]
    if measure is None or len(scored) < MIN_FRONT_VARIANTS:
        return None
    costs = {
        levels: float(row_cost[measure])
        for levels, row_cost, row in zip(results.variants(), cost.rows, variants.rows, strict=True)
        if row["score"] is not None
    }
    if max(costs.values()) < (1 + COST_TOLERANCE) * min(costs.values()):
        return None
    points = [(value, row["score"]) for value, row in zip(costs.values(), scored, strict=True)]
    front = _find_pareto_front(points)
    xs = _spread_equal_costs([*costs.values()])
    named = [levels for levels, point in zip(costs, points, strict=True) if point in front]
    styles = choose_highlights(results, named)
    names = describe_highlights(results, "that front, ")

    def draw(layout: FigureLayout) -> Figure:
        figure = Figure(figsize=(min(7.0, layout.width), 3.4), layout="constrained")
        axes = figure.subplots()
        markers, others = {}, {}
        for levels, point, x, row in zip(costs, points, xs, scored, strict=True):
            colour, line = styles.get(levels, (GREY, "-"))
            marker_style = {
                "color": colour,
                "marker": MARKERS[LINE_STYLES.index(line)],
                "markerfacecolor": colour if point in front else "white",
            }
            marker = _draw_point(axes, x, row, marker_style)
            if levels in styles:
                markers[format_variant(levels)] = marker
            else:
                others[f"{len(costs.keys() - styles.keys())} others"] = marker
        axes.set_xlabel(f"{COST_MEASURES[measure]} of a run")
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(lambda value, _: format_amount(value))
        axes.set_ylabel("score, percent")
        axes.margins(0.08)
        _set_score_limits(axes, scored)
        remove_frame(axes, grid="y")
        add_legend_below(figure, markers | others, layout)
        return figure

    return save_picture(
        draw,
        name="cost",
        title="Score against cost",
        caption="Means over seeds with their Student-t intervals, uncorrected. Filled: the "
        "Pareto front, variants for which no other has a higher score at the same or a lower "
        "cost. It is computed from means: neighbours on it may differ by noise only. Variants "
        f"of equal cost are drawn side by side. {names}".rstrip(),
    )


def _draw_point(axes: Axes, x: float, row: Row, marker_style: Mapping[str, Any]) -> Line2D:
    """Draws a variant's score and its interval; returns the marker for the legend."""
    if row["score_low"] is not None:
        ends = [row["score_low"], row["score_high"]]
        axes.plot([x, x], ends, color=marker_style["color"], linewidth=1, alpha=0.6, zorder=2)
    (marker,) = axes.plot([x], [row["score"]], linestyle="", markersize=7, zorder=3, **marker_style)
    return marker


def _spread_equal_costs(costs: Sequence[float]) -> list[float]:
    """Shifts nearly equal costs slightly apart, so that no marker hides another."""
    step = (max(costs) - min(costs)) / 45
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    groups: list[list[int]] = []
    for i in order:
        if groups and costs[i] - costs[groups[-1][0]] < step:
            groups[-1].append(i)
        else:
            groups.append([i])
    moved = [*costs]
    for group in groups:
        for number, i in enumerate(group):
            moved[i] += step * (number - (len(group) - 1) / 2)
    return moved


def _find_pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points (cost, score) with a higher score than all that cost less or the same."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def draw_critical_difference(ranking: Ranking | None) -> Picture | None:
    """Draws mean ranks, with bars joining variants that Nemenyi's test does not separate.

    This is the diagram of Demsar (2006), cited in `stats/ranks.py`. None without a critical
    difference.
    """
    if ranking is None or ranking.critical_difference is None:
        return None
    return save_picture(
        lambda layout: _draw_ranks(ranking, layout),
        name="ranks",
        title="Mean ranks over tasks",
        caption=f"1 is best. Friedman p {format_p(ranking.p)} over {ranking.num_tasks} tasks. "
        "Bars join variants whose mean ranks differ by less than the critical difference of "
        "Nemenyi's test.",
    )


def _draw_ranks(ranking: Ranking, layout: FigureLayout) -> Figure:
    """Draws the ranks on a line, with the names below it, on both sides if there is room."""
    order = sorted(ranking.mean_ranks.items(), key=lambda item: item[1])
    num_left = 0 if layout.is_narrow else (len(order) + 1) // 2
    lines = max(num_left, len(order) - num_left)
    groups = ranking.find_groups()
    difference = ranking.critical_difference or 0.0
    figure = Figure(figsize=(layout.width, 0.8 + 0.27 * lines + 0.13 * len(groups)))
    place = (0.02, 0.0, 0.45, 1.0) if layout.is_narrow else (0.25, 0.0, 0.5, 1.0)
    axes = figure.add_axes(place)  # labels extend beyond the axes
    axes.set_xlim(0.5, len(order) + 0.5)
    axes.set_ylim(-(lines + 0.45 * len(groups) + 0.4), 1.6)
    axes.plot([1, 1 + difference], [1, 1], color=INK, linewidth=2)
    axes.text(1, 1.12, f"critical difference {difference:.2f}", va="bottom", fontsize=9)
    for number, (first, last) in enumerate(groups):
        y = -0.45 - 0.45 * number
        axes.plot([first - 0.03, last + 0.03], [y, y], color=COLOURS[0], linewidth=3.5)
    for number, (name, rank) in enumerate(order):
        left = number < num_left
        y = -0.45 * len(groups) - 0.9 - (number if left else len(order) - 1 - number)
        edge = 0.45 if left else len(order) + 0.55
        axes.plot([rank, rank, edge], [0, y, y], color=GREY, linewidth=0.9)
        side = "right" if left else "left"
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(edge, y, f" {text} ", ha=side, va="center", fontsize=9)
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, len(order) + 1))
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_position(("data", 0))
    axes.set_yticks([])
    return figure


def _set_score_limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Limits the axis to the means and typical intervals; a very wide interval may exceed it."""
    means = [row["score"] for row in rows]
    with_interval = [row for row in rows if row["score_low"] is not None]
    halves = [(row["score_high"] - row["score_low"]) / 2 for row in with_interval]
    padding = min(max(halves), 3 * median(halves)) if halves else 0.0
    padding = max(1.05 * padding, 0.08 * (max(means) - min(means)), 0.5)
    axes.set_ylim(min(means) - padding, max(means) + padding)
