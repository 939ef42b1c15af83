"""X-ARES's totals: the weighted mean over its tasks, and a mean for each domain beside it.

Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025.
https://arxiv.org/abs/2505.16369. A quarter of the weight of all public tasks lies on speech
recognition, and a thirtieth on ESC-50, UrbanSound and GTZAN together: the weighted total says
little of music and environment.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ablate.report.pages.table import Column, Table, number_cell, share_cell, text_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells, compute_mean
from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult
from ablate.runs.scores import mean_over_tasks

DOMAINS = ("speech", "music", "environment")
TaskFacts = Mapping[str, Mapping[str, Any]]  # task -> its domain and weight


def build_totals_table(results: Results) -> Table:
    """Tabulates the totals of each variant and of its random init, in percent.

    A row a variant, probe and pooling; none where no task of X-ARES was scored.
    """
    facts, weight = _get_task_facts(results)
    rows = [
        {
            **build_variant_cells(results, levels),
            "probe": f"{probe}.{pooling}",
            **_compute_totals(trials, probe, pooling, {task: facts[task] for task in tasks}),
            "covered": sum(facts[task]["weight"] for task in tasks) / weight,
        }
        for levels, trials in results.variants().items()
        for (probe, pooling), tasks in _get_scored_tasks(trials, facts).items()
    ]
    heads = {domain: domain for domain in DOMAINS} | {
        "weighted": "weighted total",
        "random_init": "weighted, random init",
    }
    return Table(
        name="totals",
        title="X-ARES totals",
        caption="Unweighted means of the tasks of each domain, and the mean weighted as X-ARES "
        "weights its tasks, in percent; means over pre-training seeds. Weight: share of the "
        "weight of all public tasks that these cover. Clips are scored whole, and by this "
        f"tool's probes: official numbers differ.{_format_missing(results)}",
        columns=(
            Column(head="probe", format=text_cell("probe"), text=True),
            *build_factor_columns(results),
            *(Column(head=head, format=number_cell(name)) for name, head in heads.items()),
            Column(head="weight", format=share_cell("covered")),
        ),
        rows=tuple(rows),
    )


def list_missing_tasks(results: Results) -> list[Mapping[str, Any]]:
    """Lists the public tasks that a study lacks, each with its `weight` and the `reason`."""
    return [task for data in results.plan["data"] for task in data.get("missing", ())]


def _get_task_facts(results: Results) -> tuple[TaskFacts, int]:
    """Returns the tasks that X-ARES knows, and the weight of these and of all that are missing."""
    facts = {
        name: task
        for data in results.plan["data"]
        for name, task in data["tasks"].items()
        if "weight" in task
    }
    return facts, sum(task["weight"] for task in [*facts.values(), *list_missing_tasks(results)])


def _get_scored_tasks(
    trials: Iterable[TrialResult], facts: TaskFacts
) -> dict[tuple[str, str], set[str]]:
    """Returns the tasks that each probe and pooling has been scored on."""
    found: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        for score in trial.run.scores:
            if score.task in facts and score.test is not None:
                found.setdefault((score.probe, score.pooling), set()).add(score.task)
    return found


def _compute_totals(
    trials: list[TrialResult], probe: str, pooling: str, facts: TaskFacts
) -> dict[str, float | None]:
    """Returns means over trials of each one's means over these tasks, all or none."""
    weights = {task: fact["weight"] for task, fact in facts.items()}
    tested = [dict(_list_test_scores(trial.run, probe, pooling)) for trial in trials]
    twins = [dict(_list_test_scores(trial.random_init, probe, pooling)) for trial in trials]
    sums = {
        domain: compute_mean(
            mean_over_tasks(scores, _filter_domain(domain, facts)) for scores in tested
        )
        for domain in DOMAINS
    }
    return {
        **sums,
        "weighted": compute_mean(mean_over_tasks(scores, facts, weights) for scores in tested),
        "random_init": compute_mean(mean_over_tasks(scores, facts, weights) for scores in twins),
    }


def _filter_domain(domain: str, facts: TaskFacts) -> list[str]:
    return [task for task, fact in facts.items() if fact["domain"] == domain]


def _list_test_scores(
    run: RunResult, probe: str, pooling: str
) -> Iterator[tuple[str, float | None]]:
    for score in run.scores:
        if (score.probe, score.pooling) == (probe, pooling):
            yield score.task, score.test


def _format_missing(results: Results) -> str:
    reasons: dict[str, list[str]] = {}
    for task in list_missing_tasks(results):
        reasons.setdefault(task["reason"], []).append(task["task"])
    told = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f" Missing: {'; '.join(told)}." if told else ""
