"""Trials from factors and seeds, and the plan that they become."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.study import Study, StudyError, validate_study
from ablate.config.tree import Node, from_plain
from ablate.core.records.plan import PlanReply, SettingProblem, TrialReply
from ablate.design import dedupe, factors
from ablate.design import plan as design_plan
from ablate.design import trials as design
from tests.plans import make_reply

RANDOM = {"type": "maskers.Random", "ratio": 0.6}
BLOCK = {"type": "maskers.MultiBlock"}


def make_study(
    varied: dict[str, dict[str, Any]],
    seeds: tuple[int, ...] = (0,),
    **baseline: Any,
) -> Study:
    settings = {"masker": RANDOM, "budget": {"steps": 10, "batch": 2}, **baseline}
    keys = {"study": "study", "seeds": list(seeds), "score": "knn.mean"}
    tree = from_plain({**keys, "baseline": settings}, "study.yaml:2")
    branches = {
        name: {label: from_plain(level, f"study.yaml:{label}") for label, level in levels.items()}
        for name, levels in varied.items()
    }
    factors = {name: Node({**levels}, "study.yaml:1") for name, levels in branches.items()}
    tree.children["factors"] = Node({**factors}, "study.yaml:1")
    return validate_study(tree, Path("study.yaml"))


def grid(study: Study) -> list[design.PlannedTrial]:
    return design.trials(study, factors.factors(study))


def answered(
    trials: list[design.PlannedTrial], defaults: dict[str, Any]
) -> list[design.PlannedTrial]:
    """Plays the worker: writes out the masker's defaults and names what is the same alike."""
    replies = []
    for trial in trials:
        settings = {**trial.settings, "masker": {**defaults, **trial.settings["masker"]}}
        name = str(sorted(settings["masker"].items())) + str(trial.seed)
        replies.append(make_reply(name, settings))
    return design.resolve_trials(trials, replies)


@given(
    st.lists(st.integers(1, 4), max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
)
def test_a_grid_holds_every_combination_once(sizes: list[int], seeds: list[int]) -> None:
    varied = {f"budget.f{i}": {str(k): k for k in range(n)} for i, n in enumerate(sizes)}
    budget = {f"f{i}": 0 for i in range(len(sizes))}
    trials = grid(make_study(varied, tuple(seeds), budget=budget))
    kinds = {(*trial.levels.values(), trial.seed) for trial in trials}
    count = len(seeds)
    for size in sizes:
        count *= size
    assert len(kinds) == len(trials) == count


def test_a_level_replaces_its_branch_whole() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}))
    assert [trial.settings["masker"] for trial in trials] == [RANDOM, BLOCK]


def test_a_level_leaves_the_other_branches_alone() -> None:
    trials = grid(make_study({"budget.steps": {"10": 10, "20": 20}}))
    assert [trial.settings["budget"] for trial in trials] == [
        {"steps": 10, "batch": 2},
        {"steps": 20, "batch": 2},
    ]


def test_a_study_without_factors_has_one_variant() -> None:
    trials = grid(make_study({}, (0, 1)))
    assert [trial.variant for trial in trials] == ["baseline", "baseline"]


def test_every_trial_gets_its_seed() -> None:
    assert [trial.settings["seed"] for trial in grid(make_study({}, (3, 5)))] == [3, 5]


def test_trials_come_seed_by_seed() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1)))
    assert [trial.seed for trial in trials] == [0, 0, 1, 1]


def test_trials_share_no_settings() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1)))
    trials[0].settings["masker"]["ratio"] = 9
    assert trials[2].settings["masker"] == RANDOM


def test_the_level_like_the_baseline_is_the_baseline_level() -> None:
    reordered = dict(reversed(RANDOM.items()))
    (factor,) = factors.factors(make_study({"masker": {"block": BLOCK, "random": reordered}}))
    assert (factor.baseline, list(factor.levels)) == ("random", ["block", "random"])


def test_a_baseline_that_is_no_level_is_added_in_front() -> None:
    (factor,) = factors.factors(make_study({"masker": {"block": BLOCK}}))
    assert (factor.baseline, list(factor.levels)) == ("baseline", ["baseline", "block"])


def test_a_level_called_baseline_must_be_the_baseline() -> None:
    with pytest.raises(StudyError, match="differs from the baseline"):
        factors.factors(make_study({"masker": {"baseline": BLOCK}}))


def test_a_setting_that_the_baseline_leaves_out_can_be_a_factor() -> None:
    trials = grid(make_study({"optimizer.rate": {"0.1": 0.1}}))
    assert [trial.settings.get("optimizer") for trial in trials] == [None, {"rate": 0.1}]


def test_an_added_baseline_level_joins_the_level_that_means_the_same() -> None:
    study = make_study({"masker": {"block": BLOCK, "plain": {"type": "maskers.Random"}}}, (0, 1))
    varied = factors.factors(study)
    trials = answered(design.trials(study, varied), {"ratio": 0.6})
    (factor,), settled = dedupe.settle(varied, trials)
    assert (factor.baseline, list(factor.levels)) == ("plain", ["block", "plain"])
    assert [trial.levels["masker"] for trial in settled] == ["block", "plain"] * 2


def test_two_levels_that_mean_the_same_are_refused() -> None:
    plain = {"type": "maskers.Random"}
    study = make_study({"masker": {"random": RANDOM, "plain": plain}})
    varied = factors.factors(study)
    trials = answered(design.trials(study, varied), {"ratio": 0.6})
    with pytest.raises(StudyError, match=r"study.yaml:plain: levels `random` and `plain`"):
        dedupe.settle(varied, trials)


def test_a_problem_is_told_where_its_level_was_written() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    trials = grid(study)
    fine = TrialReply()
    problem = SettingProblem(path=("masker", "area"), message="too big")
    wrong = TrialReply(problems=(problem,))
    refused = design.refused(study, trials, [fine, wrong, fine, wrong])
    assert refused == ["study.yaml:block: `masker.area`: too big (in block)"]


def test_a_problem_of_all_trials_is_told_once() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    problem = SettingProblem(path=("budget", "steps"), message="too few")
    wrong = TrialReply(problems=(problem,))
    refused = design.refused(study, grid(study), [wrong] * 4)
    assert refused == ["study.yaml:2: `budget.steps`: too few"]


def test_a_label_names_what_a_trial_has_of_a_setting() -> None:
    study = make_study({"masker": {"block": BLOCK}, "budget.steps": {"20": 20}})
    trial = grid(study)[-1]
    assert design.label_within(trial.levels, "masker") == "block"
    assert design.label_within(trial.levels, "patchifier") == "baseline"


def test_notes_reach_the_plan_and_no_trial() -> None:
    plain = make_study({"masker": {"random": RANDOM, "block": BLOCK}})
    study = plain.model_copy(update={"notes": {"block": "as drawn"}})
    assert design_plan.build_plan(study, [], [], PlanReply()).notes == study.notes
    assert grid(study) == grid(plain)


def test_a_plan_warns_of_levels_that_show_unlike_amounts() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    varied = factors.factors(study)
    replies = [
        make_reply(
            f"{trial.variant}{trial.seed}",
            trial.settings,
            context=0.4 if trial.variant == "random" else 0.3,
            targets=0.5,
        )
        for trial in design.trials(study, varied)
    ]
    trials = design.resolve_trials(design.trials(study, varied), replies)
    [warning] = design_plan.build_plan(study, varied, trials, PlanReply()).warnings
    assert warning.startswith("Levels of masker differ in their realised context: random 40 %")
