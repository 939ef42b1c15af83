"""The picture of learning: how losses, ranks and scores come about over the audio heard."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.report.figures.metrics import QUANTITIES, Curve, group_identical_curves
from ablate.report.figures.style import (
    Picture,
    add_legend_below,
    assign_line_styles,
    remove_frame,
    save_picture,
    use_style,
)
from ablate.report.results import Results, format_variant

MAX_LINES_WITH_SEEDS = 4  # lines, up to which each may have its seeds beside it


def draw_learning_curves(results: Results, curves: Sequence[Curve]) -> Picture | None:
    """Draws each quantity of `QUANTITIES` over hours of audio heard, a line for each variant.

    Over steps where some variant's hours are not known. Variants whose curves are all the same
    are one line. None without a curve.
    """
    quantities = [name for name in QUANTITIES if any(c.quantity == name for c in curves)]
    if not quantities:
        return None
    in_hours = all(curve.hours_per_step for curve in curves)
    shared = group_identical_curves(curves)
    every_seed = len(shared) <= MAX_LINES_WITH_SEEDS
    styles = assign_line_styles(results)
    with use_style():
        figure = Figure(figsize=(3.4 * len(quantities) + 0.4, 3.0), layout="constrained")
        panels = figure.subplots(1, len(quantities), squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            for curve in curves:
                if curve.quantity == quantity and curve.levels in shared:
                    scale = (curve.hours_per_step or 1.0) if in_hours else 1.0
                    draw = _draw_seeds if every_seed else _draw_range
                    draw(axes, curve, scale, styles[curve.levels][0])
                    _draw_mean(axes, curve, scale, *styles[curve.levels])
            axes.set_title(QUANTITIES[quantity], fontsize=10, loc="left")
            axes.set_xlabel("hours of audio heard" if in_hours else "step")
            remove_frame(axes, grid="y")
        lines = {}
        for levels, same in shared.items():
            colour, line = styles[levels]
            name = " / ".join(map(format_variant, same))
            lines[name] = Line2D([], [], color=colour, linestyle=line, linewidth=1.8)
        add_legend_below(figure, lines)
        return save_picture(
            figure,
            name="learning",
            title="Learning curves",
            caption="Thick: mean over seeds, up to the step that all have reached; "
            + (
                "thin: each seed. "
                if every_seed
                else "shaded: from the lowest seed to the highest. "
            )
            + "Position loss: of a predictor that knows only positions. "
            * ("position_loss" in quantities)
            + "Variants named together share their runs. "
            * any(len(same) > 1 for same in shared.values())
            + "Losses do not rank variants: they rise in healthy runs and fall in collapse.",
        )


def _draw_seeds(axes: Axes, curve: Curve, scale: float, colour: str) -> None:
    for seed in curve.seeds:
        xs, ys = zip(*seed, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, alpha=0.25, linewidth=0.7)


def _draw_range(axes: Axes, curve: Curve, scale: float, colour: str) -> None:
    """Shades from the lowest seed to the highest, where all are known: many hairs hide a line."""
    steps = [step for step, _ in curve.mean]
    runs = [dict(seed) for seed in curve.seeds]
    low, high = ([end(run[step] for run in runs) for step in steps] for end in (min, max))
    xs = [scale * step for step in steps]
    axes.fill_between(xs, low, high, color=colour, alpha=0.08, linewidth=0)


def _draw_mean(axes: Axes, curve: Curve, scale: float, colour: str, line: str) -> None:
    if mean := curve.mean:
        xs, ys = zip(*mean, strict=True)
        axes.plot([scale * x for x in xs], ys, color=colour, linestyle=line, linewidth=1.8)
