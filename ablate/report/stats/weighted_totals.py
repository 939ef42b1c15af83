"""Builds the table of X-ARES totals: the weighted mean over its tasks, and a mean per domain.

Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025.
https://arxiv.org/abs/2505.16369. Speech recognition has a quarter of the weight of all public
tasks, and ESC-50, UrbanSound and GTZAN together have a thirtieth: the weighted total says little
about music and environment.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ablate.core.records.plan import MissingTask
from ablate.report.pages.table import Column, Table, number_cell, share_cell, text_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells, compute_mean
from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult
from ablate.runs.scores import mean_over_tasks

DOMAINS = ("speech", "music", "environment")


class PublicTaskFacts(NamedTuple):
    """The domain and the weight of a public task in X-ARES."""

    domain: str  # speech, music or environment
    weight: int
    knn: bool  # whether the official total of kNN scores counts it


TaskFacts = Mapping[str, PublicTaskFacts]  # by task


def build_totals_table(results: Results) -> Table:
    """Builds the table of the totals of each variant and of its random init, in percent.

    One row per variant, probe and pooling; empty if no task of X-ARES was scored.
    """
    facts, weight = _get_task_facts(results)
    rows = [
        {
            **build_variant_cells(results, levels),
            "probe": f"{probe}.{pooling}",
            **_compute_totals(trials, probe, pooling, {task: facts[task] for task in tasks}),
            "covered": sum(facts[task].weight for task in tasks) / weight,
        }
        for levels, trials in results.variants().items()
        for (probe, pooling), scored in _get_scored_tasks(trials, facts).items()
        if (tasks := _filter_counted(scored, facts, results.plan.probes.get(probe, {})))
    ]
    heads = {domain: domain for domain in DOMAINS} | {
        "weighted": "weighted total",
        "random_init": "weighted, random init",
    }
    return Table(
        name="totals",
        title="X-ARES totals",
        caption="Unweighted means of the tasks of each domain, and the mean weighted as X-ARES "
        "weights its tasks, in percent; means over pre-training seeds. Weight: the share of the "
        "total weight of all public tasks that the scored tasks have. Only probes with "
        "`protocol: official` give the numbers of the benchmark; others score whole clips in the "
        f"way of this tool.{_format_missing(results)}",
        columns=(
            Column(head="probe", format=text_cell("probe"), text=True),
            *build_factor_columns(results),
            *(Column(head=head, format=number_cell(name)) for name, head in heads.items()),
            Column(head="weight", format=share_cell("covered")),
        ),
        rows=tuple(rows),
    )


def list_missing_tasks(results: Results) -> list[MissingTask]:
    """Lists the public tasks that a study does not cover."""
    return [task for data in results.plan.data for task in data.missing]


def _get_task_facts(results: Results) -> tuple[TaskFacts, int]:
    """Returns the tasks of X-ARES, and the total weight of these and of the missing ones."""
    facts = {
        name: PublicTaskFacts(domain=task.domain, weight=task.weight, knn=task.knn)
        for data in results.plan.data
        for name, task in data.tasks.items()
        if task.domain is not None and task.weight is not None
    }
    missing = sum(task.weight for task in list_missing_tasks(results))
    return facts, missing + sum(task.weight for task in facts.values())


def _get_scored_tasks(
    trials: Iterable[TrialResult], facts: TaskFacts
) -> dict[tuple[str, str], set[str]]:
    """Returns the tasks that each (probe, pooling) has scored."""
    tasks: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        for score in trial.run.scores:
            if score.task in facts and score.test is not None:
                tasks.setdefault((score.probe, score.pooling), set()).add(score.task)
    return tasks


def _filter_counted(tasks: set[str], facts: TaskFacts, probe: Mapping[str, Any]) -> set[str]:
    """Returns the tasks whose score a probe's total counts: X-ARES has no kNN score of some."""
    is_knn = str(probe.get("type", "")).endswith("XaresKNN")
    if not (is_knn and probe.get("protocol") == "official"):
        return tasks
    return {task for task in tasks if facts[task].knn}


def _compute_totals(
    trials: list[TrialResult], probe: str, pooling: str, facts: TaskFacts
) -> dict[str, float | None]:
    """Computes means over trials of the mean over tasks; None if a trial lacks one of the tasks."""
    weights = {task: fact.weight for task, fact in facts.items()}
    trained = [dict(_list_test_scores(trial.run, probe, pooling)) for trial in trials]
    random_init = [
        dict(_list_test_scores(run, probe, pooling)) for t in trials for run in t.random_inits
    ]
    by_domain = {
        domain: compute_mean(
            mean_over_tasks(scores, _filter_domain(domain, facts)) for scores in trained
        )
        for domain in DOMAINS
    }
    return {
        **by_domain,
        "weighted": compute_mean(mean_over_tasks(scores, facts, weights) for scores in trained),
        "random_init": compute_mean(
            mean_over_tasks(scores, facts, weights) for scores in random_init
        ),
    }


def _filter_domain(domain: str, facts: TaskFacts) -> list[str]:
    return [task for task, fact in facts.items() if fact.domain == domain]


def _list_test_scores(
    run: RunResult, probe: str, pooling: str
) -> Iterator[tuple[str, float | None]]:
    for score in run.scores:
        if (score.probe, score.pooling) == (probe, pooling):
            yield score.task, score.test


def _format_missing(results: Results) -> str:
    reasons: dict[str, list[str]] = {}
    for task in list_missing_tasks(results):
        reasons.setdefault(task.reason, []).append(task.task)
    texts = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f" Missing: {'; '.join(texts)}." if texts else ""
