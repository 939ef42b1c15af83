"""X-ARES's totals: the weighted mean over its tasks, and a mean for each domain beside it.

Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance", 2025.
https://arxiv.org/abs/2505.16369. A quarter of the weight of all public tasks lies on speech
recognition, and a thirtieth on ESC-50, UrbanSound and GTZAN together: the weighted total says
little of music and environment.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ablate.report.pages.table import Column, Table, number_of, plain, share_of
from ablate.report.pages.tables import factor_columns, mean, named
from ablate.report.results import Results, Trial
from ablate.report.run import Run
from ablate.runs.scores import mean_over_tasks

DOMAINS = ("speech", "music", "environment")
Facts = Mapping[str, Mapping[str, Any]]  # task -> its domain and weight


def totals(results: Results) -> Table:
    """Tabulates the totals of each variant and of its random init, in percent.

    A row a variant, probe and pooling; none where no task of X-ARES was scored.
    """
    facts, weight = _facts(results)
    rows = [
        {
            **named(results, levels),
            "probe": f"{probe}.{pooling}",
            **_sums(trials, probe, pooling, {task: facts[task] for task in tasks}),
            "covered": sum(facts[task]["weight"] for task in tasks) / weight,
        }
        for levels, trials in results.variants().items()
        for (probe, pooling), tasks in _scored(trials, facts).items()
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
        f"tool's probes: official numbers differ.{_lacking(results)}",
        columns=(
            Column(head="probe", show=plain("probe"), text=True),
            *factor_columns(results),
            *(Column(head=head, show=number_of(name)) for name, head in heads.items()),
            Column(head="weight", show=share_of("covered")),
        ),
        rows=tuple(rows),
    )


def missing(results: Results) -> list[Mapping[str, Any]]:
    """Lists the public tasks that a study lacks, each with its `weight` and the `reason`."""
    return [task for data in results.plan["data"] for task in data.get("missing", ())]


def _facts(results: Results) -> tuple[Facts, int]:
    """Returns the tasks that X-ARES knows, and the weight of these and of all that are missing."""
    facts = {
        name: task
        for data in results.plan["data"]
        for name, task in data["tasks"].items()
        if "weight" in task
    }
    return facts, sum(task["weight"] for task in [*facts.values(), *missing(results)])


def _scored(trials: Iterable[Trial], facts: Facts) -> dict[tuple[str, str], set[str]]:
    """Returns the tasks that each probe and pooling has been scored on."""
    found: dict[tuple[str, str], set[str]] = {}
    for trial in trials:
        for score in trial.run.scores:
            if score.task in facts and score.test is not None:
                found.setdefault((score.probe, score.pooling), set()).add(score.task)
    return found


def _sums(trials: list[Trial], probe: str, pooling: str, facts: Facts) -> dict[str, float | None]:
    """Returns means over trials of each one's means over these tasks, all or none."""
    weights = {task: fact["weight"] for task, fact in facts.items()}
    tested = [dict(_tested(trial.run, probe, pooling)) for trial in trials]
    twins = [dict(_tested(trial.twin, probe, pooling)) for trial in trials]
    sums = {
        domain: mean(mean_over_tasks(scores, _of(domain, facts)) for scores in tested)
        for domain in DOMAINS
    }
    return {
        **sums,
        "weighted": mean(mean_over_tasks(scores, facts, weights) for scores in tested),
        "random_init": mean(mean_over_tasks(scores, facts, weights) for scores in twins),
    }


def _of(domain: str, facts: Facts) -> list[str]:
    return [task for task, fact in facts.items() if fact["domain"] == domain]


def _tested(run: Run, probe: str, pooling: str) -> Iterator[tuple[str, float | None]]:
    for score in run.scores:
        if (score.probe, score.pooling) == (probe, pooling):
            yield score.task, score.test


def _lacking(results: Results) -> str:
    reasons: dict[str, list[str]] = {}
    for task in missing(results):
        reasons.setdefault(task["reason"], []).append(task["task"])
    told = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
    return f" Missing: {'; '.join(told)}." if told else ""
