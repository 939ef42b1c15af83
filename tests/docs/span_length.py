"""Draws docs/images/span_length.png, the scores by length of the hidden spans, and their trend.

`python -m tests.docs.span_length` reads the published scores, draws, and prints the trend that
studies/span_length_small.yaml declares.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from ablate.report.figures.style import COLOURS, GREY, FigureLayout, remove_frame, save_picture
from ablate.report.stats.statistics import Estimate, estimate_mean

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "studies" / "results" / "span_length_small_speech"
PICTURE = ROOT / "docs" / "images" / "span_length.png"
PROBE, POOLING = "knn", "segments4"  # the score of the study
BLOCKS = "block"
REFERENCES = {"random_init": ("random init", "-"), "mel_statistics": ("log-mel statistics", ":")}
Scores = Mapping[str, Mapping[int, float]]  # by level, by seed, in percent


def read_scores(kind: str = "jepa", report: Path = REPORT) -> Scores:
    """Reads the test scores of encoders, of their random init or of log-mels pooled alike."""
    scores: dict[str, dict[int, float]] = {}
    with (report / "scores.csv").open() as lines:
        for row in csv.DictReader(lines):
            if (row["kind"], row["probe"], row["pooling"]) == (kind, PROBE, POOLING):
                scores.setdefault(row["masker"], {})[int(row["seed"])] = float(row["test"])
    return scores


def compute_slopes(scores: Scores) -> dict[int, float]:
    """Computes the slope of each seed by least squares, in points per doubling of the length."""
    lengths = {level: int(level.removeprefix("ms")) for level in scores if level != BLOCKS}
    doublings = np.log2([*lengths.values()])
    return {
        seed: float(np.polyfit(doublings, [scores[level][seed] for level in lengths], 1)[0])
        for seed in next(iter(scores.values()))
    }


def estimate_trend(report: Path = REPORT) -> Estimate:
    """Estimates the mean slope with Student's t over the seeds."""
    return estimate_mean([*compute_slopes(read_scores(report=report)).values()], alpha=0.05)


def _draw(layout: FigureLayout) -> Figure:
    figure = Figure(figsize=(layout.width, 4.0), layout="constrained")
    axes, scores = figure.subplots(), read_scores()
    spans = {int(level.removeprefix("ms")): s for level, s in scores.items() if level != BLOCKS}
    for seed in next(iter(spans.values())):
        values = [by_seed[seed] for by_seed in spans.values()]
        axes.plot([*spans], values, color=COLOURS[0], alpha=0.35, linewidth=1, marker=".")
    means = [fmean(by_seed.values()) for by_seed in spans.values()]
    axes.plot([*spans], means, color=COLOURS[0], linewidth=2.4, marker="D", label="spans")
    beside = 2 * max(spans)  # blocks have no one length: they stand beside the axis
    blocks = [*scores[BLOCKS].values()]
    axes.scatter([beside] * len(blocks), blocks, color=COLOURS[1], alpha=0.5, s=16)
    axes.scatter([beside], [fmean(blocks)], color=COLOURS[1], marker="s", s=46, label="blocks")
    for kind, (name, line) in REFERENCES.items():
        values = [value for by_seed in read_scores(kind).values() for value in by_seed.values()]
        axes.axhline(fmean(values), color=GREY, linestyle=line, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks([*spans, beside], [*map(str, spans), "blocks"])
    axes.minorticks_off()
    axes.set_xlabel("length of a hidden span, ms; 40 % of the clip is visible in every case")
    axes.set_ylabel("words recognised, percent")
    remove_frame(axes, grid="y")
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    return figure


def main() -> None:
    """Draws the picture and prints the trend."""
    picture = save_picture(_draw, name="span_length", title="Scores by span length", caption="")
    PICTURE.write_bytes(picture.png)
    trend = estimate_trend()
    sys.stdout.write(f"points per doubling: {trend}\n")


if __name__ == "__main__":
    main()
