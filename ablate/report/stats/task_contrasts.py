"""Estimates every contrast on each task by itself, to describe what the mean over tasks hides."""

import dataclasses
from dataclasses import dataclass
from statistics import fmean

from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.contrasts import list_contrasts
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.statistics import Estimate

FAMILIES = ("pooled", "within", "learning")


@dataclass(frozen=True, kw_only=True)
class TaskContrast:
    """A contrast on one task."""

    task: str
    contrast: Contrast
    estimate: Estimate  # points, uncorrected


def estimate_task_contrasts(results: Results) -> list[TaskContrast]:
    """Estimates the contrasts of a study on each of its tasks, with uncorrected intervals.

    They are no part of the verdicts. Pairs, gains and the error are those of the verdicts, whose
    difference is the mean over tasks.

    Returns:
        The tasks of each contrast together, in the order of the contrasts; empty for one task.
    """
    tasks = sorted(_list_tasks(results))
    if len(tasks) < 2:
        return []
    level = read_decision_rules(results.plan).look_alpha
    by_task = [_list_contrasts(_rescore(results, task)) for task in tasks]
    return [
        TaskContrast(task=task, contrast=contrast, estimate=contrast.estimate(alpha=level))
        for contrasts in zip(*by_task, strict=True)
        for task, contrast in zip(tasks, contrasts, strict=True)
        if contrast.differences
    ]


def _list_contrasts(results: Results) -> list[Contrast]:
    return [contrast for contrast in list_contrasts(results) if contrast.family in FAMILIES]


def _list_tasks(results: Results) -> set[str]:
    """Lists the tasks on which some trial has the study's score."""
    return {
        score.task
        for trial in results.trials
        for score in trial.run.scores
        if (score.probe, score.pooling) == trial.probe_key
    }


def _rescore(results: Results, task: str) -> Results:
    """Replaces the scores of all trials by those on one task."""

    def rescore_trial(trial: TrialResult) -> TrialResult:
        inits = [_find_score(run, trial.probe_key, task) for run in trial.random_inits]
        present = [score for score in inits if score is not None]
        return dataclasses.replace(
            trial,
            # a trial that failed on another task is in no verdict
            score=None if trial.score is None else _find_score(trial.run, trial.probe_key, task),
            random_init_score=fmean(present) if len(present) == len(inits) else None,
            untrained_scores={},
        )

    trials = tuple(map(rescore_trial, results.trials))
    return dataclasses.replace(results, trials=trials, confirmation_trials=())


def _find_score(run: RunResult, probe_key: tuple[str, str], task: str) -> float | None:
    """Finds the score of a run on the test clips of a task, in percent."""
    return next(
        (
            score.test
            for score in run.scores
            if score.task == task and (score.probe, score.pooling) == probe_key
        ),
        None,
    )
