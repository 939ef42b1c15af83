"""Which variants lead, chosen without a look at the test data, to be tried on fresh seeds.

The best of twelve equal variants, each the mean of three seeds, looks better than it is by 0.94
standard deviations over seeds: what chose a winner cannot also say how good it is.
"""

from statistics import fmean

from ablate.report.results import Results, TrialResult, compute_mean_score, format_variant


def select_leading_variants(results: Results, top: int) -> list[tuple[str, ...]]:
    """Returns the levels of the `top` variants by validation score, best first.

    A variant of which a trial has no score does not lead, so there may be fewer. Raises
    `ValueError` for a `top` below 1, and where a scored trial lacks a validation score.
    """
    if top < 1:
        raise ValueError(f"`confirm.top` must be at least 1 variant; got {top}")
    means = {
        levels: fmean(_compute_validation_score(results, trial) for trial in trials)
        for levels, trials in results.variants().items()
        if all(trial.score is not None for trial in trials)
    }
    return sorted(means, key=lambda levels: -means[levels])[:top]


def _compute_validation_score(results: Results, trial: TrialResult) -> float:
    """Returns the mean validation score over tasks of the probe that is asked."""
    score, lacking = compute_mean_score(
        results.plan, trial.plan, trial.run, trial.probe_key, part="valid"
    )
    if score is None:
        raise ValueError(
            f"`confirm` must choose by validation scores, and {', '.join(lacking)} has none (of "
            f"{format_variant(tuple(trial.levels.values()))}); give the task validation clips, or "
            "leave `confirm` out"
        )
    return score
