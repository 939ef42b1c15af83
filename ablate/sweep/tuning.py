"""Tunes the levels of a study: checks the sweep, searches, and plans the tuned variants.

Each combination of levels has its own search, with the same number of points and the same sampler.
A point becomes ordinary trials, so finished runs are not trained again. Points are judged on
validation clips; only the report uses the test part. The best points are then trained on fresh
seeds.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config.design import BASELINE
from ablate.config.search_space import Space, apply_changes, edge_points, space_to_plain
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node, format_problem
from ablate.core.records.plan import StudyPlan, SweepResult, TrialEntry
from ablate.core.records.planning import PlanRequest
from ablate.design import factors
from ablate.design import plan as design_plan
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar, show_progress
from ablate.runs import store
from ablate.sweep.runner import Combination, SweepRunner, TunedCombination
from ablate.sweep.samplers import find_sampler_problem
from ablate.sweep.storage import storage_errors

JOURNAL = "optuna.journal"  # in the report folder
TUNED = "settings"  # factor of a study without factors: tuned settings against the baseline
EMPTY_LEVEL = factors.Level((), {})  # a level that only needs its label


def get_journal(reports: Path, study: str) -> Path:
    """Returns the path of a study's journal, its default storage."""
    return reports / study / JOURNAL


def list_combinations(study: Study, plan: StudyPlan) -> list[Combination]:
    """Lists the combinations of levels, each with its settings and its space."""
    assert study.sweep is not None
    combinations = {}
    varied = factors.build_factors(study)
    for trial in plan.trials:
        levels = dict(trial.levels)
        tree, space = study.baseline, dict(study.sweep.space)
        by_member = factors.split_zipped_levels(varied, levels)
        for factor, label in sorted(by_member.items(), key=lambda pair: pair[0].count(".")):
            branch = study.factors[factor].get(label)
            if branch is not None:
                tree = apply_changes(tree, [(tuple(factor.split(".")), branch)])
            space |= study.sweep.only.get(label, {})
        key = tuple(levels.items())
        if key not in combinations:
            name = _format_search_name(study, levels, space, plan, trial)
            combinations[key] = Combination(levels, tree, space, name)
    return list(combinations.values())


def check_sweep(study: Study, plan: StudyPlan, pool: Pool, console: Console) -> None:
    """Has a worker validate both ends of every range and every choice, one at a time.

    Raises:
        StudyError: All problems, including a missing package and missing validation clips.
    """
    assert study.sweep is not None
    problem = find_sampler_problem(study.sweep.sampler)
    problems = [] if problem is None else [problem]
    for data in plan.data:
        for task, counts in data.tasks.items():
            if counts.folds or not counts.valid:
                rule = "sweeps are judged on validation clips; give the manifest a `valid` split"
                problems.append(f"task `{task}` has none: {rule}")
    edges: list[tuple[str, Node]] = []
    for combination in list_combinations(study, plan):
        for key, changes in edge_points(combination.space):
            try:
                edges.append((key, apply_changes(combination.tree, changes)))
            except ValueError as error:
                problems.append(f"{changes[-1][1].place}: `sweep.space.{key}`: {error}")
    settings = [{**tree.plain(), "seed": study.sweep.seeds[0]} for _, tree in edges]
    with progress_bar(console, "checking the sweep") as on_event:
        reply = pool.plan(PlanRequest(trials=tuple(settings)), on_event)
    for (key, tree), entry in zip(edges, reply.trials, strict=True):
        problems += [
            f"{format_problem(tree, each)} (in `sweep.space.{key}`)" for each in entry.problems
        ]
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))


def describe_sweep(study: Study, plan: StudyPlan) -> list[str]:
    """Describes what is tuned, one line per combination."""
    assert study.sweep is not None
    sweep = study.sweep
    lines = []
    for combination in list_combinations(study, plan):
        keys = ", ".join(combination.space)
        lines.append(
            f"sweep of {combination.label}: {sweep.trials} points by {sweep.sampler}: {keys}"
        )
    seeds = f"seeds {', '.join(map(str, sweep.seeds))}"
    fresh = f"the best are trained on {len(study.seeds)} fresh seeds"
    return [*lines, f"each point is judged on validation data over {seeds}; {fresh}"]


def tune(
    study: Study,
    plan: StudyPlan,
    pool: Pool,
    folders: store.Folders,
    console: Console,
    *,
    searched: bool,
) -> list[TunedCombination]:
    """Searches every combination, together with other processes, and returns the best points.

    `searched` says that a cluster has evaluated all points; none is evaluated here.

    Raises:
        NoScoredPointError: A combination has no point with a score.
        StorageError: The storage cannot be used.
    """
    assert study.sweep is not None
    with storage_errors(study.sweep.storage or str(get_journal(folders.reports, study.name))):
        runner = open_runner(study, plan, folders)
        with runner.heartbeat():
            if not searched:
                left = max(0, runner.num_points - runner.num_finished)
                total = left * len(study.sweep.seeds)
                with show_progress(console, total, runner.read_score) as watch:
                    pool.run_loop(runner.step, watch)
            return runner.select_best()


def open_runner(study: Study, plan: StudyPlan, folders: store.Folders) -> SweepRunner:
    """Opens the searches of a study. Call it inside `storage_errors`."""
    assert study.sweep is not None
    journal = get_journal(folders.reports, study.name)
    return SweepRunner(study.sweep, plan, list_combinations(study, plan), folders, journal)


def format_results(tuned: list[TunedCombination]) -> list[str]:
    """Formats the best point of each combination, and how well its rungs predicted the end."""
    lines = []
    for result in tuned:
        params = ", ".join(
            f"{name} {_format_value(value)}" for name, value in result.best.params.items()
        )
        counts = {"pruned": result.num_pruned, "failed": result.num_failed}
        ends = ", ".join(f"{count} {end}" for end, count in counts.items() if count)
        points = f"best of {result.num_tried} points{f' ({ends})' if ends else ''}"
        score = (result.best.values or (float("nan"),))[0]
        label = result.combination.label
        lines.append(f"{label}: {points}: validation score {score:.1f} with {params}")
        for rung, (correlation, num_points) in result.fidelity.items():
            ranked = (
                f"ranks of {num_points} points at {rung} % of the steps against their final ranks"
            )
            lines.append(f"  {ranked}: Spearman correlation {correlation:.2f}")
    return lines


def plan_tuned_trials(
    study: Study, plan: StudyPlan, tuned: list[TunedCombination], pool: Pool, console: Console
) -> tuple[list[design.PlannedTrial], StudyPlan]:
    """Plans the trials that enter the verdict: every tuned combination on fresh seeds.

    A study without factors compares the tuned settings with the baseline.

    Returns:
        The trials, and their plan as in `plan.json`.

    Raises:
        StudyError: A worker finds problems in the tuned settings.
    """
    trials = [
        design.PlannedTrial(levels, seed, {**tree.plain(), "seed": seed})
        for seed in study.all_seeds
        for levels, tree in _list_variants(tuned)
    ]
    settings = tuple(trial.settings for trial in trials)
    request = PlanRequest(
        trials=settings, probes=dict(study.probes), random_inits=study.random_inits
    )
    with progress_bar(console, f"planning {study.name} as tuned") as on_event:
        reply = pool.plan(request, on_event)
    trees = [tree for _ in study.all_seeds for _, tree in _list_variants(tuned)]
    problems = [
        format_problem(tree, problem)
        for tree, entry in zip(trees, reply.trials, strict=True)
        for problem in entry.problems
    ]
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))
    trials = design.resolve_trials(trials, reply.trials)
    tuned_plan = design_plan.build_plan(study, _list_factors(plan), trials, reply)
    return trials, replace(tuned_plan, sweep=tuple(map(_to_sweep_result, tuned)))


def _format_value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _list_variants(tuned: list[TunedCombination]) -> list[tuple[dict[str, str], Node]]:
    variants = []
    for result in tuned:
        levels = result.combination.levels
        if not levels:
            variants.append(({TUNED: BASELINE}, result.combination.tree))
        variants.append((levels or {TUNED: "tuned"}, result.tree))
    return variants


def _list_factors(plan: StudyPlan) -> list[factors.Factor]:
    labels = plan.factors or {TUNED: (BASELINE, "tuned")}
    baseline = plan.baseline or {TUNED: BASELINE}
    return [
        factors.Factor(name, dict.fromkeys(labels[name], EMPTY_LEVEL), baseline[name])
        for name in labels
    ]


def _to_sweep_result(tuned: TunedCombination) -> SweepResult:
    return SweepResult(
        levels=tuned.combination.levels,
        search=tuned.combination.name,
        params=dict(tuned.best.params),
        valid=tuned.best.values[0] if tuned.best.values else None,
        points=tuned.num_tried,
        pruned=tuned.num_pruned,
        failed=tuned.num_failed,
        fidelity=tuned.fidelity,
        runs=tuple(tuned.best.facts.get("runs", ())),
    )


def _format_search_name(
    study: Study, levels: Mapping[str, str], space: Space, plan: StudyPlan, trial: TrialEntry
) -> str:
    """Names a search by its levels and a hash of everything that its scores depend on."""
    assert study.sweep is not None
    meaning: dict[str, Any] = {
        "settings": {key: value for key, value in trial.settings.items() if key != "seed"},
        "data": [data.digest for data in plan.data],
        "space": space_to_plain(space),
        "seeds": study.sweep.seeds,
        "objectives": study.sweep.objectives,
        "score": [plan.score_protocol, plan.score.pooling],
    }
    if study.sweep.rungs or study.sweep.pruner != "none":
        meaning |= {"pruner": study.sweep.pruner, "rungs": study.sweep.rungs}
    if bounds := study.sweep.constraints.bounds:
        meaning["constraints"] = bounds
    key = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:6]
    label = ", ".join(levels.values())
    return f"{study.name}{': ' if label else ''}{label} ({key})"
