"""The pictures of how a score comes about: over audio heard, against its cost, by combination."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.reporting.curves import QUANTITIES, Curve
from ablate.reporting.drawing import LINES, Picture, bare, finished, folded, line_styles, style
from ablate.reporting.palette import COLOURS, INK, QUIET
from ablate.reporting.ranks import Ranking
from ablate.reporting.rendering import Row, Table, amount, chance
from ablate.reporting.results import Results, column_of, label_of

EFFORTS = {"flops": "FLOPs", "seconds": "seconds", "steps": "steps"}  # the first that is known
MARKERS = ("o", "s", "^", "D")  # as many as there are lines


def learning_curves(results: Results, curves: Sequence[Curve]) -> Picture | None:
    """Draws each quantity of `QUANTITIES` over hours of audio heard, a line for each variant.

    Over steps where some variant's hours are not known; None without a curve.
    """
    quantities = [name for name in QUANTITIES if any(c.quantity == name for c in curves)]
    if not quantities:
        return None
    in_hours = all(curve.hours_per_step for curve in curves)
    styles = line_styles(results)
    with style():
        figure = Figure(figsize=(3.4 * len(quantities) + 0.4, 3.0), layout="constrained")
        panels = figure.subplots(1, len(quantities), squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            for curve in (curve for curve in curves if curve.quantity == quantity):
                scale = (curve.hours_per_step or 1.0) if in_hours else 1.0
                _draw_curve(axes, curve, scale, *styles[curve.levels])
            axes.set_title(QUANTITIES[quantity], fontsize=10, loc="left")
            axes.set_xlabel("hours of audio heard" if in_hours else "step")
            bare(axes, grid="y")
        looks = {curve.levels: styles[curve.levels] for curve in curves}
        _name(
            figure,
            {
                levels: Line2D([], [], color=colour, linestyle=line, linewidth=1.8)
                for levels, (colour, line) in looks.items()
            },
        )
        return finished(
            figure,
            name="learning",
            title="Learning curves",
            caption="Thick: mean over seeds, up to the step that all have reached; thin: each "
            "seed. Losses do not rank variants: they rise in healthy runs and fall in collapse.",
        )


def _draw_curve(axes: Axes, curve: Curve, scale: float, colour: str, line: str) -> None:
    for seed in curve.seeds:
        xs, ys = zip(*seed, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, alpha=0.25, linewidth=0.7)
    if mean := curve.mean:
        xs, ys = zip(*mean, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, linestyle=line, linewidth=1.8)


def _name(figure: Figure, lines: Mapping[tuple[str, ...], Line2D]) -> None:
    """Names the lines of variants below a figure, which grows by as much."""
    names = [label_of(levels) for levels in lines]
    columns = max(1, min(4, 100 // (8 + max(map(len, names)))))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * math.ceil(len(names) / columns))
    figure.legend(
        [*lines.values()], names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9
    )


def interactions(results: Results, variants: Table) -> Picture | None:
    """Draws the score of each level of the first factor over the combinations of the others.

    None with fewer than two levels or two combinations that have a score.
    """
    factors = [column_of(factor) for factor in results.factors]
    rows = [row for row in variants.rows if row["score"] is not None]
    places = list(dict.fromkeys(tuple(row[name] for name in factors[1:]) for row in rows))
    levels = list(dict.fromkeys(row[factors[0]] for row in rows)) if factors else []
    if len(places) < 2 or len(levels) < 2:
        return None
    with style():
        names = [folded(level, 28) for level in levels]
        letters = max(len(line) for name in names for line in name.split("\n"))
        size = (max(3.0, 1.5 * len(places)) + 0.9 + 0.085 * letters, 3.6)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for number, level in enumerate(levels):
            own = [row for row in rows if row[factors[0]] == level]
            nudge = 0.16 * (number / (len(levels) - 1) - 0.5)  # bars side by side
            xs = [places.index(tuple(row[name] for name in factors[1:])) + nudge for row in own]
            _draw_level(axes, xs, own, number, names[number])
        _fit(axes, rows)
        axes.set_xticks(range(len(places)), [folded(", ".join(place), 18) for place in places])
        axes.set_ylabel("score, percent")
        axes.set_xlim(-0.4, len(places) - 0.6)
        bare(axes, grid="y")
        figure.legend(
            loc="outside right upper", frameon=False, fontsize=9, title=results.factors[0]
        )
        return finished(
            figure,
            name="interactions",
            title="Levels by combination",
            caption="Mean score over seeds with its Student-t interval, uncorrected. Lines that "
            "run apart or cross are an interaction; the table says whether it exceeds noise.",
        )


def _draw_level(
    axes: Axes, xs: Sequence[float], rows: Sequence[Row], number: int, name: str
) -> None:
    """Draws the scores of one level, the `number`th, and their intervals."""
    colour, line = COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)]
    axes.plot(xs, [row["score"] for row in rows], color=colour, linestyle=line, marker="o")
    for x, row in zip(xs, rows, strict=True):
        if row["score_low"] is not None:
            ends = [row["score_low"], row["score_high"]]
            axes.plot([x, x], ends, color=colour, linewidth=1, alpha=0.6)
    axes.plot([], [], color=colour, linestyle=line, marker="o", label=name)


def pareto(results: Results, variants: Table, cost: Table) -> Picture | None:
    """Draws each variant's score against what a run of it took, and the Pareto front.

    The cost is the first of `EFFORTS` that all variants have; None where there is none, or fewer
    than two scores. `variants` and `cost` are tables in the order of the results' variants.
    """
    scores = [row["score"] for row in variants.rows]
    effort = next((name for name in EFFORTS if all(row[name] for row in cost.rows)), None)
    if effort is None or sum(score is not None for score in scores) < 2:
        return None
    points = {
        levels: (float(taken[effort]), float(score))
        for levels, taken, score in zip(results.variants(), cost.rows, scores, strict=True)
        if score is not None
    }
    front = _front_of(list(points.values()))
    styles = line_styles(results)
    with style():
        figure = Figure(figsize=(7, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.step(*zip(*front, strict=True), where="post", color=QUIET, linewidth=1, zorder=1)
        marked = {}
        for levels, point in points.items():
            colour, line = styles[levels]
            (marked[levels],) = axes.plot(
                *point,
                color=colour,
                marker=MARKERS[LINES.index(line)],
                linestyle="",
                markersize=8 if point in front else 5,
            )
        axes.set_xlabel(f"{EFFORTS[effort]} of a run")
        axes.xaxis.set_major_formatter(lambda value, _: amount(value))
        axes.set_ylabel("score, percent")
        axes.margins(0.08)
        bare(axes, grid="y")
        _name(figure, marked)
        return finished(
            figure,
            name="cost",
            title="Score against cost",
            caption="Means over seeds. Large and joined: the Pareto front, variants that no other "
            "beats at the same or lower cost. It is a front of means: neighbours on it may "
            "differ by noise alone.",
        )


def _front_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the (cost, score) that score higher than all that cost less or as much, in order."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def critical_difference(ranking: Ranking | None) -> Picture | None:
    """Draws mean ranks on a line, and joins the variants that Nemenyi's test cannot tell apart.

    The diagram of Demsar (2006), cited in `ranks`. None without a critical difference.
    """
    if ranking is None or ranking.critical is None:
        return None
    order = sorted(ranking.mean_ranks.items(), key=lambda item: item[1])
    half = (len(order) + 1) // 2
    groups = ranking.groups()
    with style():
        figure = Figure(figsize=(9, 0.8 + 0.27 * half + 0.13 * len(groups)))
        axes = figure.add_axes((0.25, 0.0, 0.5, 1.0))  # labels may stand outside
        axes.set_xlim(0.5, len(order) + 0.5)
        axes.set_ylim(-(half + 0.45 * len(groups) + 0.4), 1.6)
        axes.plot([1, 1 + ranking.critical], [1, 1], color=INK, linewidth=2)
        axes.text(1, 1.12, f"critical difference {ranking.critical:.2f}", va="bottom", fontsize=9)
        for number, (first, last) in enumerate(groups):
            y = -0.45 - 0.45 * number
            axes.plot([first - 0.03, last + 0.03], [y, y], color=COLOURS[0], linewidth=3.5)
        for number, (name, rank) in enumerate(order):
            left = number < half
            y = -0.45 * len(groups) - 0.9 - (number if left else len(order) - 1 - number)
            edge = 0.45 if left else len(order) + 0.55
            axes.plot([rank, rank, edge], [0, y, y], color=QUIET, linewidth=0.9)
            side = "right" if left else "left"
            text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
            axes.text(edge, y, f" {text} ", ha=side, va="center", fontsize=9)
        axes.xaxis.tick_top()
        axes.set_xticks(range(1, len(order) + 1))
        axes.spines[["left", "right", "bottom"]].set_visible(False)
        axes.spines["top"].set_position(("data", 0))
        axes.set_yticks([])
        return finished(
            figure,
            name="ranks",
            title="Mean ranks over tasks",
            caption=f"1 is best. Friedman p {chance(ranking.p)} over {ranking.num_tasks} tasks. "
            "Bars join variants whose mean ranks differ by less than the critical difference of "
            "Nemenyi's test.",
        )


def _fit(axes: Axes, rows: Sequence[Row]) -> None:
    """Limits the axis to means and their seeds' usual spread; two seeds may leave it."""
    means = [row["score"] for row in rows]
    known = [row for row in rows if row["score_low"] is not None]
    halves = [(row["score_high"] - row["score_low"]) / 2 for row in known]
    room = min(max(halves), 3 * median(halves)) if halves else 0.0
    room = max(1.05 * room, 0.08 * (max(means) - min(means)), 0.5)
    axes.set_ylim(min(means) - room, max(means) + room)
