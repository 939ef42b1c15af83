"""Averages scores of a run, and of baselines without training, over the tasks of a trial."""

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.report.run import RunResult
from ablate.runs.scores import mean_over_tasks

RANDOM_INIT, LOG_MEL = "random init", "log-mel"  # names of baselines without training


def compute_mean_score(
    plan: StudyPlan,
    planned: TrialEntry,
    run: RunResult,
    probe_key: tuple[str, str],
    *,
    split: Literal["test", "valid"] = "test",
) -> tuple[float | None, list[str]]:
    """Computes the mean score over tasks, and lists the tasks without a score.

    Args:
        plan: The plan of the study.
        planned: The entry of the trial in the plan.
        run: The run whose scores are averaged.
        probe_key: Probe and pooling of the score.
        split: Whether to average test or validation scores.

    Returns:
        The mean in percent, None if a task has no score; and the names of such tasks.
    """
    scores = {s.task: getattr(s, split) for s in run.scores if (s.probe, s.pooling) == probe_key}
    tasks = _get_task_names(plan, planned, probe_key[0])
    missing = sorted(task for task in tasks if scores.get(task) is None)
    return mean_over_tasks(scores, tasks), missing


def compute_random_init_score(
    plan: StudyPlan,
    planned: TrialEntry,
    random_inits: Sequence[RunResult],
    probe_key: tuple[str, str],
) -> float | None:
    """Computes the mean score of the untrained encoders of a trial, in percent.

    None if one of them has no score.
    """
    scores = [compute_mean_score(plan, planned, run, probe_key)[0] for run in random_inits]
    present = [score for score in scores if score is not None]
    return fmean(present) if len(present) == len(scores) else None


def compute_untrained_scores(
    plan: StudyPlan,
    planned: TrialEntry,
    random_inits: Sequence[RunResult],
    mel_statistics: RunResult,
    probe_key: tuple[str, str],
) -> dict[str, float]:
    """Computes the scores of everything that needs no training, by the probe of the score.

    Args:
        plan: The plan of the study.
        planned: The entry of the trial in the plan.
        random_inits: The runs of untrained encoders like that of the trial.
        mel_statistics: The run of log-mel statistics.
        probe_key: Probe and pooling of the score.

    Returns:
        The mean in percent over all tasks: of `random init`, pooled as the trained encoder is, and
        of `log-mel mean_std` and every other pooling of log-mels. A baseline that has not scored
        all tasks is left out.
    """
    probe, _ = probe_key
    scores = {RANDOM_INIT: compute_random_init_score(plan, planned, random_inits, probe_key)}
    for name in dict.fromkeys(s.pooling for s in mel_statistics.scores if s.probe == probe):
        key = (probe, name)
        scores[f"{LOG_MEL} {name}"] = compute_mean_score(plan, planned, mel_statistics, key)[0]
    return {name: score for name, score in scores.items() if score is not None}


def _get_task_names(plan: StudyPlan, planned: TrialEntry, probe: str) -> set[str]:
    """Returns the tasks on which a probe scores a trial: its own, or those of the trial's data."""
    content = plan.probes.get(probe, {}).get("content")
    if content:
        return set(content["tasks"])
    return {task for data in plan.data if data.digest == planned.facts.data for task in data.tasks}
