"""Builds what the report shows of single classes: their scores, and what they are taken for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ablate.report.pages.table import (
    CellFormatter,
    Column,
    Row,
    Table,
    format_number,
    number_cell,
    share_cell,
    text_cell,
)
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, TrialResult, format_variant
from ablate.report.stats.class_scores import (
    Numbers,
    compute_class_scores,
    count_confusions,
    list_test_predictions,
)

MAX_CONFUSIONS = 10  # listed per task
MAX_CLASSES = 40  # in a matrix on the page
MAX_MATRICES = 6  # variants per task that are shown as a matrix
BRIEF_VARIANTS = 4  # columns that are shown before a table is unfolded


@dataclass(frozen=True, kw_only=True)
class TaskClasses:
    """What the probe of the score made of the classes of a task: means over pre-training seeds."""

    task: str
    classes: tuple[str, ...]
    support: NDArray[np.int64]  # clips, or seconds, with each class
    f1: Mapping[str, Numbers]  # variant -> (classes,), percent
    confusions: Mapping[str, Numbers]  # variant -> shares of each true class; empty if multi-label


@dataclass(frozen=True)
class _Outcome:
    """The outcome of one variant on a task, as in `TaskClasses`."""

    classes: tuple[str, ...]
    support: NDArray[np.int64]
    f1: Numbers
    confusion: Numbers | None


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """A cell of a confusion matrix: the share of clips of one class that are taken for another."""

    share: float  # 0 to 1
    is_correct: bool

    @property
    def text(self) -> str:
        """The share in percent; empty if it rounds to 0."""
        return format_number(100 * self.share, 0) if self.share >= 0.005 else ""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A confusion matrix of one variant on one task, for the page."""

    task: str
    variant: str
    classes: tuple[str, ...]
    rows: tuple[tuple[MatrixCell, ...], ...]  # one per true class


def collect_classes(results: Results) -> list[TaskClasses]:
    """Collects the outcomes of every class by task; nothing if no predictions were kept."""
    by_variant = {
        format_variant(levels): _average_seeds(trials)
        for levels, trials in results.variants().items()
    }
    tasks = dict.fromkeys(task for outcomes in by_variant.values() for task in outcomes)
    return [_join_variants(task, by_variant) for task in tasks]


def build_class_table(results: Results, tasks: Sequence[TaskClasses]) -> Table:
    """Builds the table of the F1 score of every class, by variant, in percent."""
    variants = [format_variant(levels) for levels in results.variants()]
    rows = [
        {
            "task": task.task,
            "class": label,
            "support": int(task.support[number]),
            **{f"f1 {name}": _get(task.f1, name, number) for name in variants},
        }
        for task in tasks
        for number, label in enumerate(task.classes)
    ]
    return Table(
        name="classes",
        title="Scores by class",
        caption=f"F1 of each class by {format_score_name(results)}, in percent: mean over "
        "pre-training seeds. Clips: test clips (in tasks of events, seconds) with the class. "
        "Descriptive only: classes have few clips each.",
        columns=(
            Column(head="task", format=text_cell("task"), text=True),
            Column(head="class", format=text_cell("class"), text=True),
            Column(head="clips", format=text_cell("support")),
            *_build_variant_columns(variants, "f1", number_cell),
        ),
        rows=tuple(rows),
    )


def build_confusion_table(results: Results, tasks: Sequence[TaskClasses]) -> Table:
    """Builds the table of the most frequent confusions of every task, by variant, as shares."""
    variants = [format_variant(levels) for levels in results.variants()]
    rows = [row for task in tasks if task.confusions for row in _list_confusions(task, variants)]
    return Table(
        name="confusions",
        title="Confusions",
        caption=f"The {MAX_CONFUSIONS} most frequent confusions of each task by "
        f"{format_score_name(results)}, as shares of the test clips of the true class: mean over "
        "pre-training seeds.",
        columns=(
            Column(head="task", format=text_cell("task"), text=True),
            Column(head="confusion", format=_format_confusion, text=True),
            *_build_variant_columns(variants, "share", share_cell),
        ),
        rows=tuple(rows),
    )


def build_matrices(results: Results, tasks: Sequence[TaskClasses]) -> tuple[Matrix, ...]:
    """Builds the confusion matrices of the page: first variants, tasks of few classes."""
    variants = [format_variant(levels) for levels in results.variants()][:MAX_MATRICES]
    return tuple(
        Matrix(
            task=task.task,
            variant=variant,
            classes=task.classes,
            rows=tuple(
                tuple(
                    MatrixCell(share=float(share), is_correct=row == column)
                    for column, share in enumerate(shares)
                )
                for row, shares in enumerate(task.confusions[variant])
            ),
        )
        for task in tasks
        for variant in variants
        if variant in task.confusions and len(task.classes) <= MAX_CLASSES
    )


def _average_seeds(trials: Sequence[TrialResult]) -> dict[str, _Outcome]:
    """Averages the outcomes of a variant over its seeds, by task."""
    collected: dict[str, list[_Outcome]] = {}
    for trial in trials:
        for task, kept in list_test_predictions(trial):
            scores = compute_class_scores(kept)
            confusion = _normalise(count_confusions(kept)) if kept.kind == "single" else None
            outcome = _Outcome(kept.classes, scores.support, scores.f1, confusion)
            collected.setdefault(task, []).append(outcome)
    return {task: _average(outcomes) for task, outcomes in collected.items()}


def _average(outcomes: Sequence[_Outcome]) -> _Outcome:
    alike = [each for each in outcomes if each.classes == outcomes[0].classes]
    confusions = [each.confusion for each in alike if each.confusion is not None]
    return replace(
        outcomes[0],
        f1=np.mean([each.f1 for each in alike], axis=0),
        confusion=np.mean(confusions, axis=0) if confusions else None,
    )


def _join_variants(task: str, by_variant: Mapping[str, Mapping[str, _Outcome]]) -> TaskClasses:
    outcomes = {name: tasks[task] for name, tasks in by_variant.items() if task in tasks}
    first = next(iter(outcomes.values()))
    alike = {name: each for name, each in outcomes.items() if each.classes == first.classes}
    return TaskClasses(
        task=task,
        classes=first.classes,
        support=first.support,
        f1={name: each.f1 for name, each in alike.items()},
        confusions={
            name: each.confusion for name, each in alike.items() if each.confusion is not None
        },
    )


def _normalise(counts: Numbers) -> Numbers:
    """Divides by the number of clips of each true class; a class without clips has zeros."""
    shares: Numbers = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _list_confusions(task: TaskClasses, variants: Sequence[str]) -> list[Row]:
    mean = np.mean([*task.confusions.values()], axis=0)
    np.fill_diagonal(mean, 0)
    order = np.argsort(-mean, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [divmod(int(place), len(task.classes)) for place in order if mean.flat[place] > 0]
    return [
        {
            "task": task.task,
            "truth": task.classes[truth],
            "predicted": task.classes[predicted],
            **{
                f"share {name}": _get(task.confusions, name, (truth, predicted))
                for name in variants
            },
        }
        for truth, predicted in pairs
    ]


def _format_confusion(row: Row) -> str:
    return f"{row['truth']} taken for {row['predicted']}"


def _get(values: Mapping[str, Numbers], variant: str, place: int | tuple[int, int]) -> float | None:
    return float(values[variant][place]) if variant in values else None


def _build_variant_columns(
    variants: Sequence[str], measure: str, cell: Callable[[str], CellFormatter]
) -> list[Column]:
    return [
        Column(head=name, format=cell(f"{measure} {name}"), brief=number < BRIEF_VARIANTS)
        for number, name in enumerate(variants)
    ]
