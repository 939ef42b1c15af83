"""Builds interactive versions of the report's figures, as dicts in plotly's JSON format."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.report.figures.metrics import Curve, group_identical_curves
from ablate.report.figures.style import COLOURS, VERDICT_MARKERS
from ablate.report.pages.claims import format_scope
from ablate.report.pages.tables import subtract
from ablate.report.results import Results, format_variant, get_levels
from ablate.report.stats.decisions import Verdict

Figure = dict[str, Any]


def build_forest(results: Results, verdicts: Sequence[Verdict]) -> Figure:
    """Builds the forest plot: differences in points with intervals, coloured by verdict.

    The equivalence margin is shaded. A contrast without a score on both sides is left out.
    """
    decided = [verdict for verdict in verdicts if verdict.estimate.mean is not None]
    words = {word: [v for v in decided if v.word.split()[0] == word] for word in VERDICT_MARKERS}
    margin = results.plan.report.equivalence_margin
    band = {
        "type": "rect",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": -margin,
        "x1": margin,
        "fillcolor": "rgba(0, 158, 115, 0.15)",
        "line": {"width": 0},
    }
    layout = _build_layout("Differences and their intervals", "difference in points", "")
    top_down = [_format_label(verdict) for verdict in reversed(decided)]
    layout["yaxis"] |= {"categoryorder": "array", "categoryarray": top_down}
    traces = [_build_contrast_trace(word, group) for word, group in words.items() if group]
    return {"data": traces, "layout": {**layout, "shapes": [band]}}


def build_learning_curves(curves: Sequence[Curve], quantity: str) -> Figure:
    """Builds the plot of one quantity over steps: the mean of each variant, thin lines per seed.

    `quantity` is a key of `QUANTITIES`; without a curve, the figure's `data` is empty. Variants
    with identical curves share one line.
    """
    shared = group_identical_curves(curves)
    wanted = [curve for curve in curves if curve.quantity == quantity and curve.levels in shared]
    traces: list[Figure] = []
    for index, curve in enumerate(wanted):
        colour = COLOURS[index % len(COLOURS)]
        label = " / ".join(map(format_variant, shared[curve.levels]))
        for seed in curve.seeds:
            thin = {"color": colour, "width": 1}
            traces.append({**_build_line(seed, thin, label), "opacity": 0.35, "showlegend": False})
        traces.append(_build_line(curve.mean, {"color": colour, "width": 3}, label))
    title = f"Learning curves: {quantity.replace('_', ' ')}"
    return {"data": traces, "layout": _build_layout(title, "step", quantity.replace("_", " "))}


def build_parallel_factors(results: Results) -> Figure:
    """Builds the parallel-coordinates plot of scored trials: levels, seed and score in percent.

    If a factor does not apply to some trials, `-` is added to its levels.
    """
    scored = [trial for trial in results.trials if trial.score is not None]
    trial_levels = [get_levels(trial, results.factors) for trial in scored]
    dimensions: list[Figure] = []
    for number, (factor, planned) in enumerate(results.plan.factors.items()):
        own = [levels[number] for levels in trial_levels]
        labels = list(dict.fromkeys([*planned, *own]))
        indices = [labels.index(label) for label in own]
        ticks = {"tickvals": list(range(len(labels))), "ticktext": labels}
        dimensions.append({"label": factor, "values": indices, **ticks})
    dimensions.append({"label": "seed", "values": [trial.seed for trial in scored]})
    scores = [trial.score for trial in scored]
    dimensions.append({"label": "score", "values": scores})
    line = {"color": scores, "colorscale": "Viridis", "showscale": True}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line}
    return {"data": [trace], "layout": _build_layout("Factors, seeds and scores", "", "")}


def _build_contrast_trace(word: str, verdicts: Sequence[Verdict]) -> Figure:
    """Builds the trace of the contrasts with one verdict word."""
    estimates = [verdict.estimate for verdict in verdicts]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": word,
        "marker": {"color": VERDICT_MARKERS[word][0], "size": 9},
        "x": [estimate.mean for estimate in estimates],
        "y": [_format_label(verdict) for verdict in verdicts],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [subtract(estimate.high, estimate.mean) for estimate in estimates],
            "arrayminus": [subtract(estimate.mean, estimate.low) for estimate in estimates],
        },
    }


def _build_line(points: Sequence[tuple[int, float]], line: Mapping[str, Any], name: str) -> Figure:
    steps, values = [step for step, _ in points], [value for _, value in points]
    trace = {"type": "scatter", "mode": "lines", "line": dict(line), "name": name}
    return {**trace, "x": steps, "y": values}


def _build_layout(title: str, across: str, up: str) -> Figure:
    axes = {"xaxis": {"title": {"text": across}}, "yaxis": {"title": {"text": up}}}
    return {"title": {"text": title}, "margin": {"l": 160}, **axes}


def _format_label(verdict: Verdict) -> str:
    contrast = verdict.contrast
    gain = ", by gain" * (contrast.measure == "gain")
    names = f"{contrast.level} \N{MINUS SIGN} {contrast.against}"
    return f"{names} ({format_scope(contrast)}{gain}): {verdict.word}"
