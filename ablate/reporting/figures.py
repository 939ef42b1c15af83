"""The pictures of verdicts and of scores: every contrast, and every seed of every variant."""

from collections.abc import Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablate.reporting.drawing import Picture, bare, finished, folded, style
from ablate.reporting.palette import COLOURS, INK, QUIET, WORDS
from ablate.reporting.rendering import MINUS, Table, number
from ablate.reporting.results import Results, label_of
from ablate.reporting.rules import percent
from ablate.reporting.verdicts import Verdict
from ablate.reporting.wording import place, word_with_seeds

WIDTH = 40  # letters of a label: more would leave no room for the numbers


def forest(results: Results, verdicts: Sequence[Verdict]) -> Picture | None:
    """Draws every contrast with its interval, in points, against the margin of equivalence.

    None where no contrast has a score on both sides.
    """
    shown = _ordered(verdicts)
    if not shown:
        return None
    margin = results.plan["report"]["equivalence_margin"]
    with style():
        covered = percent(*(verdict.level for verdict in shown))
        labels = [folded(_forest_label(verdict), WIDTH) for verdict in shown]
        row_height = 0.42 if any("\n" in label for label in labels) else 0.3
        figure = Figure(figsize=(9, 1.0 + row_height * len(shown)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-margin, margin, color="#eef3f0", zorder=0, linewidth=0)
        axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
        limit = _forest_limit(shown, margin)
        for row, verdict in enumerate(shown):
            _draw_contrast(axes, row, verdict, limit)
        axes.set_xlim(-limit, limit)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_yticks(range(len(shown)), labels)
        for tick, verdict in zip(axes.get_yticklabels(), shown, strict=True):
            if verdict.contrast.family == "within":
                tick.set(color=QUIET, fontsize=9)
        axes.set_xlabel("difference in points (right of zero: the first is better)")
        bare(axes, grid="x")
        return finished(
            figure,
            name="contrasts",
            title="Contrasts",
            caption=f"Differences with uncorrected {covered} intervals; verdicts use "
            "Holm-corrected p-values. The band is the equivalence margin, "
            f"{margin:g} points either way. Small: the same contrast within one combination. An "
            "arrow marks an interval that leaves the axis.",
        )


def dots(results: Results, variants: Table) -> Picture | None:
    """Draws each seed of each variant, its mean and interval, and the two references, in percent.

    `variants` is the table of the same results. None without a score.
    """
    rows = list(zip(results.variants().items(), variants.rows, strict=True))
    if all(row["score"] is None for row in variants.rows):
        return None
    with style():
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
        axes.set_yticks(
            range(len(rows)), [folded(label_of(levels), WIDTH) for (levels, _), _ in rows]
        )
        axes.set_xlabel("score, percent")
        bare(axes, grid="x")
        figure.legend(
            handles=_dots_legend(), loc="outside upper left", ncols=5, frameon=False, fontsize=9
        )
        return finished(
            figure,
            name="variants",
            title="Scores by variant",
            caption="Small dots are pre-training seeds; diamond and bar are their mean and its "
            f"Student-t {percent(results.plan['report']['alpha'])} interval. Ticks: the same "
            "encoder at random init, and log-mel statistics without any encoder.",
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
    fresh = ", fresh seeds" if contrast.family == "confirmation" else ""
    return f"{contrast.level} {MINUS} {contrast.against}{fresh}"


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
