"""Draws one figure per finding of the README from the published reports.

`python -m tests.docs.finding_figures` writes docs/images/finding_*.png and prints the contrast
between sizes of encoders that studies/is_block_worse_larger.yaml declares.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance

from matplotlib.figure import Figure
from scipy import special

from ablate.core.records.findings import VerdictFinding
from ablate.report.figures.style import (
    EQUIVALENCE_FILL,
    GREY,
    VERDICT_MARKERS,
    FigureLayout,
    remove_frame,
    save_picture,
)
from ablate.report.pages.findings import read_findings

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "studies" / "results"
IMAGES = ROOT / "docs" / "images"
MARGIN = 2.0  # points, that of every study
SMALL, LARGE = ("span_length_small_speech", "ms40"), ("is_block_worse_larger_speech", "random")


@dataclass(frozen=True)
class Row:
    """One contrast of a published report."""

    label: str
    study: str
    level: str
    where: str = "all"


@dataclass(frozen=True)
class FindingFigure:
    """The contrasts that decide a finding, in the small regime and in the new one."""

    axis: str
    small: Sequence[Row]
    new: Sequence[Row]


FIGURES: Mapping[str, FindingFigure] = {
    "blocks": FindingFigure(
        "blocks minus random masks, points",
        small=(
            Row("synthetic sound, squares", "is_block_worse", "block", "squares"),
            Row("synthetic sound, strips", "is_block_worse", "block", "strips"),
            Row("notes, squares", "is_block_worse_music", "block", "squares"),
            Row("notes, strips", "is_block_worse_music", "block", "strips"),
            Row("I-JEPA's code: synthetic sound", "is_block_worse", "legacy", "squares"),
            Row("I-JEPA's code: notes", "is_block_worse_music", "legacy", "squares"),
            Row("I-JEPA's code: ESC-50", "is_block_worse_environment", "legacy", "squares"),
            Row("I-JEPA's code: words", "is_block_worse_speech", "legacy", "squares"),
        ),
        new=(
            Row("synthetic sound, strips", "is_block_worse_again", "block"),
            Row("notes, strips", "is_block_worse_again_music", "block"),
            Row("words, strips", "is_block_worse_again_speech", "block"),
            Row("words, strips, larger encoders", "is_block_worse_larger_speech", "block"),
            Row("the same, words moved in time", "moved_clips_speech", "block", "moved"),
            Row("words, squares", "is_block_worse_squares_speech", "block"),
            Row("I-JEPA's code: words, squares", "is_block_worse_squares_speech", "legacy"),
        ),
    ),
    "curriculum": FindingFigure(
        "other masks minus A-JEPA's curriculum, points",
        small=(
            Row("synthetic: reverse order", "curriculum", "reversed"),
            Row("synthetic: no order", "curriculum", "mixture"),
            Row("synthetic: blocks alone", "curriculum", "blocks"),
            Row("synthetic: columns alone", "curriculum", "columns"),
            Row("synthetic: random masks", "curriculum", "random"),
        ),
        new=(
            Row("words: reverse order", "curriculum_again_speech", "reversed"),
            Row("words: no order", "curriculum_again_speech", "mixture"),
            Row("words: blocks alone", "curriculum_again_speech", "blocks"),
            Row("words: random masks", "curriculum_again_speech", "random"),
        ),
    ),
    "patches": FindingFigure(
        "gain of strips minus gain of squares, points",
        small=(
            Row("synthetic: as many tokens", "patching", "strips_same_tokens"),
            Row("synthetic: as long", "patching", "strips_same_seconds"),
            Row("words: as many tokens", "patching_speech", "strips_same_tokens"),
            Row("words: as long", "patching_speech", "strips_same_seconds"),
        ),
        new=(
            Row("words: as many tokens", "patching_again_speech", "strips_same_tokens"),
            Row("words: as long", "patching_again_speech", "strips_same_seconds"),
        ),
    ),
}


@dataclass(frozen=True)
class SizeContrast:
    """The difference of (block - random) of larger encoders from that of small ones, in points."""

    small: float
    large: float
    difference: float
    low: float
    high: float
    p: float


def find_verdict(row: Row) -> VerdictFinding:
    """Returns the published verdict on a contrast."""
    [verdict] = [
        verdict
        for verdict in read_findings(RESULTS / row.study).verdicts
        if verdict.family in ("pooled", "within")
        and (verdict.level, verdict.where) == (row.level, row.where)
    ]
    return verdict


def compare_sizes(probe: str = "knn", pooling: str = "segments4") -> SizeContrast:
    """Compares the loss by blocks between sizes with Welch's t over the seeds of each study."""
    small, large = (_list_losses(*study, probe, pooling) for study in (SMALL, LARGE))
    errors = [variance(values) / len(values) for values in (small, large)]
    total = sum(errors)
    degrees = total**2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (small, large), strict=True)
    )
    difference, error = fmean(large) - fmean(small), total**0.5
    half = float(special.stdtrit(degrees, 0.975)) * error
    p = 2 * float(special.stdtr(degrees, -abs(difference) / error))
    return SizeContrast(
        fmean(small), fmean(large), difference, difference - half, difference + half, p
    )


def _list_losses(study: str, random: str, probe: str, pooling: str) -> list[float]:
    """Lists (block - random) of each seed, in points."""
    scores: dict[tuple[str, str], float] = {}
    with (RESULTS / study / "scores.csv").open() as lines:
        for row in csv.DictReader(lines):
            if (row["kind"], row["probe"], row["pooling"]) == ("jepa", probe, pooling):
                scores[row["masker"], row["seed"]] = float(row["test"])
    seeds = [seed for level, seed in scores if level == random]
    return [scores["block", seed] - scores[random, seed] for seed in seeds]


def draw_finding(finding: FindingFigure, layout: FigureLayout) -> Figure:
    """Draws the differences with their intervals, the small regime above the new one."""
    groups = [("read by the mean over time", finding.small), ("read like log-mels", finding.new)]
    count = sum(len(rows) + 1 for _, rows in groups)
    figure = Figure(figsize=(layout.width, 0.3 * count + 0.8), layout="constrained")
    axes, place, labels = figure.subplots(), 0, {}
    axes.axvspan(-MARGIN, MARGIN, color=EQUIVALENCE_FILL, zorder=0)
    axes.axvline(0, color=GREY, linewidth=1, zorder=1)
    for name, rows in groups:
        axes.text(0, place, name, transform=axes.get_yaxis_transform(), color=GREY, va="center")
        labels[place], place = "", place + 1
        for row in rows:
            verdict = find_verdict(row)
            colour, marker = VERDICT_MARKERS[verdict.verdict.split(":")[0].split(",")[0]]
            ends = [verdict.difference_low, verdict.difference_high]
            axes.plot(ends, [place, place], color=colour, linewidth=2)
            axes.plot(verdict.difference, place, color=colour, marker=marker, markersize=7)
            labels[place], place = row.label, place + 1
    axes.set_yticks([*labels], [*labels.values()])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 0.4, -0.6)
    axes.set_xlabel(finding.axis)
    remove_frame(axes, grid="x")
    return figure


def main() -> None:
    """Draws the figures and prints the contrast between sizes."""
    for name, finding in FIGURES.items():
        file = IMAGES / f"finding_{name}.png"
        picture = save_picture(
            lambda layout, finding=finding: draw_finding(finding, layout),
            name=name,
            title=name,
            caption="",
        )
        file.write_bytes(picture.png)
    sys.stdout.write(f"{compare_sizes()}\n")


if __name__ == "__main__":
    main()
