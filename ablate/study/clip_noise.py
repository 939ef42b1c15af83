"""Describes which share of the spread over seeds is noise of few clips, from finished trials."""

from pathlib import Path

from ablate.core.records.plan import StudyPlan


def describe_clip_noise(plan: StudyPlan, runs: Path, spread: float | None) -> str:
    """Describes what the clips contribute to a spread, and what more of them would change.

    By the kept predictions of validation clips, since a plan uses no test scores.

    Args:
        plan: The study.
        runs: Folder of the run folders.
        spread: Standard deviation of paired differences on validation clips, in points.

    Returns:
        Empty before two seeds of a contrast are scored, or without validation clips.
    """
    from ablate.report.pages.clip_sentences import write_clip_plan  # imports scipy
    from ablate.report.results import read_results
    from ablate.report.stats.clip_noise import estimate_seed_variance
    from ablate.report.stats.contrasts import list_factor_contrasts

    if not spread:
        return ""
    results = read_results(plan, runs)
    variances = [
        estimate_seed_variance(contrast, "valid")
        for contrast in list_factor_contrasts(results, gains=False)
        if len(contrast.pairs) == 1
    ]
    tested = [trial.run.load_influences(*trial.probe_key) for trial in results.trials]
    groups = max((sum(map(len, influences.values())) for influences in tested), default=0)
    return write_clip_plan(variances, spread, groups)
