"""A study's sweep, from its space to tuned variants, which then are trained on fresh seeds.

Each combination of levels has a search of its own, of as many points, by the same sampler. A
point becomes ordinary trials: what is in the run folders already is not trained again. Points are
judged on validation data; the test part is opened by the report alone.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config.design import BASELINE
from ablate.config.search_space import Space, apply_changes, edge_points, space_as_written
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node, format_problem
from ablate.design import factors
from ablate.design import plan as design_plan
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar, show_progress
from ablate.runs import store
from ablate.sweep.runner import Combination, Desk, Tuned
from ablate.sweep.samplers import sampler_refused
from ablate.sweep.storage import reachable

JOURNAL = "optuna.journal"  # beside the report
TUNED = "settings"  # the factor of a sweep that has none: tuned settings against the baseline
Plan = Mapping[str, Any]
NOTHING = factors.Level((), {})  # a level of which only the label is needed


def journal(reports: Path, study: str) -> Path:
    """Returns where a study's journal lies, if it names no other storage."""
    return reports / study / JOURNAL


def combinations(study: Study, plan: Plan) -> list[Combination]:
    """Lists the combinations of levels, each with its settings and its space."""
    assert study.sweep is not None
    found = {}
    for trial in plan["trials"]:
        levels = dict(trial["levels"])
        tree, space = study.baseline, dict(study.sweep.space)
        for factor, label in sorted(levels.items(), key=lambda pair: pair[0].count(".")):
            branch = study.factors[factor].get(label)
            if branch is not None:
                tree = apply_changes(tree, [(tuple(factor.split(".")), branch)])
            space |= study.sweep.only.get(label, {})
        if tuple(levels.items()) not in found:
            name = _name(study, levels, space, plan, trial)
            found[tuple(levels.items())] = Combination(levels, tree, space, name)
    return list(found.values())


def check(study: Study, plan: Plan, pool: Pool, console: Console) -> None:
    """Has a worker try the ends of every range, and each choice, one at a time.

    Raises `StudyError` with all problems, a missing package and missing validation clips among
    them.
    """
    assert study.sweep is not None
    problems = [] if (refusal := sampler_refused(study.sweep.sampler)) is None else [refusal]
    for data in plan["data"]:
        for task, counts in data["tasks"].items():
            if counts.get("folds") or not counts.get("valid"):
                rule = "sweeps are judged on validation clips; give the manifest a `valid` split"
                problems.append(f"task `{task}` has none: {rule}")
    asked: list[tuple[str, Node]] = []
    for combination in combinations(study, plan):
        for key, changes in edge_points(combination.space):
            try:
                asked.append((key, apply_changes(combination.tree, changes)))
            except ValueError as error:
                problems.append(f"{changes[-1][1].place}: `sweep.space.{key}`: {error}")
    settings = [{**tree.plain(), "seed": study.sweep.seeds[0]} for _, tree in asked]
    with progress_bar(console, "checking the sweep") as heard:
        answer = pool.ask({"do": "plan", "trials": settings, "probes": {}}, heard)
    for (key, tree), entry in zip(asked, answer["trials"], strict=True):
        problems += [
            f"{format_problem(tree, found)} (in `sweep.space.{key}`)" for found in entry["problems"]
        ]
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))


def describe(study: Study, plan: Plan) -> list[str]:
    """Says in a line for each combination what is tuned."""
    assert study.sweep is not None
    sweep = study.sweep
    lines = []
    for combination in combinations(study, plan):
        keys = ", ".join(combination.space)
        lines.append(
            f"sweep of {combination.label}: {sweep.trials} points by {sweep.sampler}: {keys}"
        )
    seeds = f"seeds {', '.join(map(str, sweep.seeds))}"
    fresh = f"the best are trained on {len(study.seeds)} fresh seeds"
    return [*lines, f"each point is judged on validation data over {seeds}; {fresh}"]


def tune(
    study: Study, plan: Plan, pool: Pool, folders: store.Folders, console: Console, *, taken: bool
) -> list[Tuned]:
    """Searches every combination, with whoever else is at it, and returns the best points.

    `taken` says that a cluster has taken all the points that are to be tried. Raises
    `NothingScoredError`, `StorageError`, and what `Pool.run_loop` raises.
    """
    assert study.sweep is not None
    with reachable(study.sweep.storage or str(journal(folders.reports, study.name))):
        desk = open_desk(study, plan, folders)
        with desk.beating():
            if taken:
                return desk.best()
            total = desk.total * len(study.sweep.seeds)
            with show_progress(console, total, desk.score) as watch:
                pool.run_loop(desk.turn, watch)
            return desk.best()


def open_desk(study: Study, plan: Plan, folders: store.Folders) -> Desk:
    """Opens the searches of a study. Call it inside `reachable`, which words what is raised."""
    assert study.sweep is not None
    file = journal(folders.reports, study.name)
    return Desk(study.sweep, plan, combinations(study, plan), folders, file)


def results(tuned: list[Tuned]) -> list[str]:
    """Says in a line for each combination what came out best."""
    lines = []
    for found in tuned:
        params = ", ".join(f"{name} {_rounded(value)}" for name, value in found.best.params.items())
        count = f"best of {found.num_tried} points"
        ends = {"pruned": found.num_pruned, "failed": found.num_failed}
        told = ", ".join(f"{count} {end}" for end, count in ends.items() if count)
        failed = f" ({told})" if told else ""
        score = (found.best.values or (float("nan"),))[0]
        label = found.combination.label
        lines.append(f"{label}: {count}{failed}: validation score {score:.1f} with {params}")
        for rung, (correlation, points) in found.fidelity.items():
            ranked = f"ranks of {points} points at {rung} % of the steps against their final ranks"
            lines.append(f"  {ranked}: Spearman correlation {correlation:.2f}")
    return lines


def plan_tuned(
    study: Study, plan: Plan, tuned: list[Tuned], pool: Pool, console: Console
) -> tuple[list[design.PlannedTrial], dict[str, Any]]:
    """Plans what enters the verdict: every combination at its best, on fresh seeds.

    Returns the trials and the plan of them, as in `plan.json`. A study without factors compares
    the tuned settings with the baseline. Raises `StudyError` for what a worker refuses.
    """
    trials = [
        design.PlannedTrial(levels, seed, {**tree.plain(), "seed": seed})
        for seed in study.all_seeds
        for levels, tree in _variants(tuned)
    ]
    request = {"do": "plan", "trials": [trial.settings for trial in trials]}
    with progress_bar(console, f"planning {study.name} as tuned") as heard:
        answer = pool.ask({**request, "probes": study.probes}, heard)
    trees = [tree for _ in study.all_seeds for _, tree in _variants(tuned)]
    problems = [
        format_problem(tree, problem)
        for tree, entry in zip(trees, answer["trials"], strict=True)
        for problem in entry["problems"]
    ]
    if problems:
        raise StudyError(list(dict.fromkeys(problems)))
    trials = design.planned(trials, answer["trials"])
    told = design_plan.summary(study, _factors(plan), trials, answer)
    return trials, {**told, "sweep": [_told(found) for found in tuned]}


def _rounded(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _variants(tuned: list[Tuned]) -> list[tuple[dict[str, str], Node]]:
    found = []
    for one in tuned:
        levels = one.combination.levels
        if not levels:
            found.append(({TUNED: BASELINE}, one.combination.tree))
        found.append((levels or {TUNED: "tuned"}, one.tree))
    return found


def _factors(plan: Plan) -> list[factors.Factor]:
    named = plan["factors"] or {TUNED: [BASELINE, "tuned"]}
    baseline = plan["baseline"] or {TUNED: BASELINE}
    return [
        factors.Factor(name, dict.fromkeys(named[name], NOTHING), baseline[name]) for name in named
    ]


def _told(tuned: Tuned) -> dict[str, Any]:
    return {
        "levels": tuned.combination.levels,
        "search": tuned.combination.name,
        "params": dict(tuned.best.params),
        "valid": (tuned.best.values or (None,))[0],
        "points": tuned.num_tried,
        "pruned": tuned.num_pruned,
        "failed": tuned.num_failed,
        "fidelity": tuned.fidelity,
        "runs": list(tuned.best.facts.get("runs", ())),
    }


def _name(
    study: Study, levels: Mapping[str, str], space: Space, plan: Plan, trial: Mapping[str, Any]
) -> str:
    """Names a search; what its points mean is hashed, so that no other meaning gets its points."""
    assert study.sweep is not None
    meaning: dict[str, Any] = {
        "settings": {key: value for key, value in trial["settings"].items() if key != "seed"},
        "data": [data["digest"] for data in plan["data"]],
        "space": space_as_written(space),
        "seeds": study.sweep.seeds,
        "objectives": study.sweep.objectives,
        "score": [plan["probes"][plan["score"]["probe"]], plan["score"]["pooling"]],
    }
    if study.sweep.rungs or study.sweep.pruner != "none":
        meaning |= {"pruner": study.sweep.pruner, "rungs": study.sweep.rungs}
    key = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:6]
    label = ", ".join(levels.values())
    return f"{study.name}{': ' if label else ''}{label} ({key})"
