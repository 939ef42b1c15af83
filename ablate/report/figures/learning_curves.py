"""Draws learning curves: losses, effective rank and online score over hours of audio."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.highlights import Levels, choose_highlights, describe_highlights
from ablate.report.figures.metrics import QUANTITIES, Curve, group_identical_curves
from ablate.report.figures.style import (
    LIGHT_GREY,
    FigureLayout,
    LineStyle,
    Picture,
    add_legend_below,
    remove_frame,
    save_picture,
)
from ablate.report.results import Results, format_variant

MAX_NAMES = 4  # names of variants with identical curves
MAX_LINES_WITH_SEEDS = 4  # with more lines, the range over seeds is shaded instead


def draw_learning_curves(results: Results, curves: Sequence[Curve]) -> Picture | None:
    """Draws each quantity of `QUANTITIES` over hours of audio, one line per variant.

    The x axis is the step if the hours of some variant are unknown. Variants with identical curves
    share one line. None without any curve.
    """
    quantities = [name for name in QUANTITIES if any(c.quantity == name for c in curves)]
    if not quantities:
        return None
    in_hours = all(curve.hours_per_step for curve in curves)
    shared = group_identical_curves(curves)
    every_seed = len(shared) <= MAX_LINES_WITH_SEEDS
    styles = _find_styles(results, shared)

    def draw(layout: FigureLayout) -> Figure:
        number = len(quantities)
        size = (layout.width, 2.4 * number + 0.4) if layout.is_narrow else (3.4 * number + 0.4, 3.0)
        figure = Figure(figsize=size, layout="constrained")
        shape = (number, 1) if layout.is_narrow else (1, number)
        panels = figure.subplots(*shape, squeeze=False).flat
        for axes, quantity in zip(panels, quantities, strict=True):
            own = [curve for curve in curves if curve.quantity == quantity]
            scales = [(curve.hours_per_step or 1.0) if in_hours else 1.0 for curve in own]
            _draw_others(axes, [*zip(own, scales, strict=True)], {*shared} - {*styles})
            for curve, scale in zip(own, scales, strict=True):
                if curve.levels in styles:
                    draw_spread = _draw_seeds if every_seed else _draw_range
                    draw_spread(axes, curve, scale, styles[curve.levels][0])
                    _draw_mean(axes, curve, scale, *styles[curve.levels])
            axes.set_title(QUANTITIES[quantity], fontsize=10, loc="left")
            axes.set_xlabel("hours of audio" if in_hours else "step")
            axes.locator_params(axis="x", nbins=4)
            remove_frame(axes, grid="y")
        add_legend_below(figure, _build_legend(shared, styles), layout)
        return figure

    return save_picture(
        draw,
        name="learning",
        title="Learning curves",
        caption="Thick: mean over seeds, up to the last step that all have reached; "
        + ("thin: each seed. " if every_seed else "shaded: from the lowest seed to the highest. ")
        + "Position loss: the loss of a predictor that uses positions only. "
        * ("position_loss" in quantities)
        + "Variants named together share their runs. "
        * any(len(identical) > 1 for identical in shared.values())
        + describe_highlights(results)
        + "Losses do not rank variants: they rise in healthy runs and fall in collapse.",
    )


def _find_styles(
    results: Results, shared: Mapping[Levels, Sequence[Levels]]
) -> dict[Levels, tuple[str, LineStyle]]:
    """Returns the style of the first variant of each group that has a named one."""
    styles = choose_highlights(results)
    named = {
        first: next((styles[levels] for levels in identical if levels in styles), None)
        for first, identical in shared.items()
    }
    return {first: style for first, style in named.items() if style is not None}


def _build_legend(
    shared: Mapping[Levels, Sequence[Levels]], styles: Mapping[Levels, tuple[str, LineStyle]]
) -> dict[str, Line2D]:
    lines = {}
    for levels, (colour, line) in styles.items():
        names = list(map(format_variant, shared[levels]))
        more = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
        name = " / ".join([*names[:MAX_NAMES], *more])
        lines[name] = Line2D([], [], color=colour, linestyle=line, linewidth=1.8)
    if others := len(shared) - len(styles):
        lines[f"{others} others"] = Line2D([], [], color=LIGHT_GREY, linewidth=1.0)
    return lines


def _draw_others(
    axes: Axes, curves: Sequence[tuple[Curve, float]], levels: Collection[Levels]
) -> None:
    """Draws the means of variants that are not named, given each curve with its scale."""
    lines = [
        [(scale * step, value) for step, value in curve.mean]
        for curve, scale in curves
        if curve.levels in levels
    ]
    if lines:
        axes.add_collection(LineCollection(lines, colors=LIGHT_GREY, linewidths=0.7, zorder=1))
        axes.autoscale_view()


def _draw_seeds(axes: Axes, curve: Curve, scale: float, colour: str) -> None:
    for seed in curve.seeds:
        xs, ys = zip(*seed, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, alpha=0.25, linewidth=0.7)


def _draw_range(axes: Axes, curve: Curve, scale: float, colour: str) -> None:
    """Shades the range from the lowest seed to the highest, at the steps that all have."""
    steps = [step for step, _ in curve.mean]
    runs = [dict(seed) for seed in curve.seeds]
    low, high = ([end(run[step] for run in runs) for step in steps] for end in (min, max))
    xs = [scale * step for step in steps]
    axes.fill_between(xs, low, high, color=colour, alpha=0.08, linewidth=0)


def _draw_mean(axes: Axes, curve: Curve, scale: float, colour: str, line: str) -> None:
    if mean := curve.mean:
        xs, ys = zip(*mean, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, linestyle=line, linewidth=1.8)
