"""Keeps a report from being replaced by one with fewer finished trials."""

from pathlib import Path

from ablate.config.study import StudyError
from ablate.core.records.findings import FINDINGS_FILE, count_scored_trials
from ablate.core.records.plan import StudyPlan
from ablate.runs import store


class ReportKeptError(StudyError):
    """A report was not written, since the present one has more finished trials."""


def check_plan(plan: StudyPlan, reports: Path) -> None:
    """Raises `ReportKeptError` if even the whole plan has fewer trials than the present report."""
    _check(len(plan.trials), "would have at most", plan, reports)


def check_results(plan: StudyPlan, folders: store.Folders) -> None:
    """Raises `ReportKeptError` if the present report has more finished trials than there are."""
    if not _count_present(plan, folders.reports):
        return
    from ablate.report.results import read_results  # imports pandas and scipy

    trials = read_results(plan, folders.runs).trials
    finished = sum(trial.score is not None for trial in trials)
    _check(finished, f"with the runs in {folders.runs} has", plan, folders.reports)


def _check(number: int, has: str, plan: StudyPlan, reports: Path) -> None:
    present = _count_present(plan, reports)
    if number < present:
        raise ReportKeptError(
            [
                f"{reports / plan.study} is kept: it reports {present} finished trials, and a new "
                f"report {has} {number}; to replace it: --force; to write elsewhere: study=NAME"
            ]
        )


def _count_present(plan: StudyPlan, reports: Path) -> int:
    return count_scored_trials(reports / plan.study / FINDINGS_FILE)
