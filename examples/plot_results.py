"""Draws the scores of each seed under two levels of a factor, for a column of a paper.

python examples/plot_results.py reports/masking masker random block pairs.pdf
"""

import sys

import matplotlib.pyplot as plt

import ablate


def plot_pairs(report: str, factor: str, first: str, second: str, file: str) -> None:
    """Draws one line per seed, from its score under one level to that under the other.

    Args:
        report: Folder of the report.
        factor: A factor of the study, such as `masker`.
        first: The level on the left.
        second: The level on the right.
        file: Figure to write: .pdf, .svg or .png.
    """
    trials = ablate.results(report).trials
    scores = trials.pivot_table(index="seed", columns=factor, values="score")
    figure, axes = plt.subplots(figsize=(3.3, 2.4), layout="constrained")
    for _, pair in scores[[first, second]].iterrows():
        axes.plot([0, 1], pair, color="0.6", marker="o", markersize=3, linewidth=0.8)
    axes.plot([0, 1], scores[[first, second]].mean(), color="black", linewidth=2, label="mean")
    axes.set_xticks([0, 1], [first, second])
    axes.set_xlim(-0.2, 1.2)
    axes.set_ylabel("score (%)")
    axes.legend(frameon=False)
    figure.savefig(file)
    plt.close(figure)


if __name__ == "__main__":
    plot_pairs(*sys.argv[1:])
