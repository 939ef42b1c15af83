"""Draws learning curves: losses, effective rank and online score over hours of audio."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.metrics import QUANTITIES, Curve, group_identical_curves
from ablate.report.figures.style import (
    FigureLayout,
    Picture,
    add_legend_below,
    assign_line_styles,
    remove_frame,
    save_picture,
)
from ablate.report.results import Results, format_variant

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
    styles = assign_line_styles(results)

    def draw(layout: FigureLayout) -> Figure:
        number = len(quantities)
        size = (layout.width, 2.4 * number + 0.4) if layout.is_narrow else (3.4 * number + 0.4, 3.0)
        figure = Figure(figsize=size, layout="constrained")
        shape = (number, 1) if layout.is_narrow else (1, number)
        panels = figure.subplots(*shape, squeeze=False).flat
        for axes, quantity in zip(panels, quantities, strict=True):
            for curve in curves:
                if curve.quantity == quantity and curve.levels in shared:
                    scale = (curve.hours_per_step or 1.0) if in_hours else 1.0
                    draw_spread = _draw_seeds if every_seed else _draw_range
                    draw_spread(axes, curve, scale, styles[curve.levels][0])
                    _draw_mean(axes, curve, scale, *styles[curve.levels])
            axes.set_title(QUANTITIES[quantity], fontsize=10, loc="left")
            axes.set_xlabel("hours of audio" if in_hours else "step")
            axes.locator_params(axis="x", nbins=4)
            remove_frame(axes, grid="y")
        lines = {}
        for levels, identical in shared.items():
            colour, line = styles[levels]
            name = " / ".join(map(format_variant, identical))
            lines[name] = Line2D([], [], color=colour, linestyle=line, linewidth=1.8)
        add_legend_below(figure, lines, layout)
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
        + "Losses do not rank variants: they rise in healthy runs and fall in collapse.",
    )


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
