"""Builds the table of every contrast on each task by itself."""

from collections.abc import Sequence

from ablate.report.pages.claims import format_scope
from ablate.report.pages.sentences import CONTRAST_COLUMNS
from ablate.report.pages.table import (
    Column,
    Table,
    format_number,
    interval_cell,
    number_cell,
    text_cell,
)
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.task_contrasts import TaskContrast

WITHOUT_VERDICT = (
    "No part of the verdicts: the intervals are corrected neither for the number of contrasts nor "
    "for that of tasks, so some would exclude zero by chance"
)


def build_task_contrast_table(
    contrasts: Sequence[TaskContrast], *, alpha: float, margin: float
) -> Table:
    """Builds the table of differences by contrast and task, in points.

    Args:
        contrasts: From `estimate_task_contrasts`; none for a study of one task.
        alpha: Error level of the intervals.
        margin: Points within which two levels count as equal.
    """
    rows = [
        {
            "family": each.contrast.family,
            "factor": each.contrast.factor,
            "level": each.contrast.level,
            "against": each.contrast.against,
            "where": format_scope(each.contrast),
            "measure": each.contrast.measure,
            "task": each.task,
            "n": each.estimate.n,
            "difference": each.estimate.mean,
            "difference_low": each.estimate.low,
            "difference_high": each.estimate.high,
        }
        for each in contrasts
    ]
    has_gains = any(each.contrast.measure == "gain" for each in contrasts)
    return Table(
        name="task-contrasts",
        title="Contrasts on each task",
        caption="The contrasts above on each task by itself, in points, paired by seed; a verdict "
        f"is on the mean over tasks. {WITHOUT_VERDICT}. For a verdict on one task, plan a study of "
        f"that task. The margin of equivalence is {format_number(margin)} points.",
        columns=(
            *CONTRAST_COLUMNS,
            Column(head="task", format=text_cell("task"), text=True),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(
                head=f"{format_coverage(alpha)} interval, uncorrected",
                format=interval_cell("difference"),
            ),
            Column(head="seeds", format=lambda row: str(row["n"])),
            Column(head="measure", format=text_cell("measure"), text=True, brief=has_gains),
        ),
        rows=tuple(rows),
    )
