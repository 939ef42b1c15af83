"""Trials of factors and seeds, and the plan that is built from them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.study import Study, StudyError, validate_study
from ablate.config.tree import Node, from_plain
from ablate.core.records.planning import PlanReply, SettingProblem, TrialReply
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
    return design.build_trials(study, factors.build_factors(study))


def resolve(
    trials: list[design.PlannedTrial], defaults: dict[str, Any]
) -> list[design.PlannedTrial]:
    """Resolves trials as a worker does: with defaults, and equal names for equal settings."""
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
def test_a_grid_has_every_combination_once(sizes: list[int], seeds: list[int]) -> None:
    varied = {f"budget.f{i}": {str(k): k for k in range(n)} for i, n in enumerate(sizes)}
    budget = {f"f{i}": 0 for i in range(len(sizes))}
    trials = grid(make_study(varied, tuple(seeds), budget=budget))
    kinds = {(*trial.levels.values(), trial.seed) for trial in trials}
    count = len(seeds)
    for size in sizes:
        count *= size
    assert len(kinds) == len(trials) == count


def test_a_level_replaces_its_branch() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}))
    assert [trial.settings["masker"] for trial in trials] == [RANDOM, BLOCK]


def test_a_level_does_not_change_other_branches() -> None:
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


def test_trials_are_ordered_by_seed() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1)))
    assert [trial.seed for trial in trials] == [0, 0, 1, 1]


def test_trials_share_no_settings() -> None:
    trials = grid(make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1)))
    trials[0].settings["masker"]["ratio"] = 9
    assert trials[2].settings["masker"] == RANDOM


def test_the_level_that_equals_the_baseline_is_the_baseline_level() -> None:
    reordered = dict(reversed(RANDOM.items()))
    (factor,) = factors.build_factors(make_study({"masker": {"block": BLOCK, "random": reordered}}))
    assert (factor.baseline, list(factor.levels)) == ("random", ["block", "random"])


def test_a_baseline_that_is_not_a_level_is_added_as_the_first() -> None:
    (factor,) = factors.build_factors(make_study({"masker": {"block": BLOCK}}))
    assert (factor.baseline, list(factor.levels)) == ("baseline", ["baseline", "block"])


def test_a_level_called_baseline_must_equal_the_baseline() -> None:
    with pytest.raises(StudyError, match="differs from the baseline"):
        factors.build_factors(make_study({"masker": {"baseline": BLOCK}}))


def test_a_setting_that_the_baseline_lacks_can_be_a_factor() -> None:
    trials = grid(make_study({"optimizer.rate": {"0.1": 0.1}}))
    assert [trial.settings.get("optimizer") for trial in trials] == [None, {"rate": 0.1}]


def test_an_added_baseline_level_is_merged_with_an_equal_level() -> None:
    study = make_study({"masker": {"block": BLOCK, "plain": {"type": "maskers.Random"}}}, (0, 1))
    varied = factors.build_factors(study)
    trials = resolve(design.build_trials(study, varied), {"ratio": 0.6})
    (factor,), kept = dedupe.merge_equal_levels(varied, trials)
    assert (factor.baseline, list(factor.levels)) == ("plain", ["block", "plain"])
    assert [trial.levels["masker"] for trial in kept] == ["block", "plain"] * 2


def test_two_equal_levels_are_an_error() -> None:
    plain = {"type": "maskers.Random"}
    study = make_study({"masker": {"random": RANDOM, "plain": plain}})
    varied = factors.build_factors(study)
    trials = resolve(design.build_trials(study, varied), {"ratio": 0.6})
    with pytest.raises(StudyError, match=r"study.yaml:plain: levels `random` and `plain`"):
        dedupe.merge_equal_levels(varied, trials)


def test_a_problem_is_reported_at_the_place_of_its_level() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    trials = grid(study)
    fine = TrialReply()
    problem = SettingProblem(path=("masker", "area"), message="too big")
    wrong = TrialReply(problems=(problem,))
    messages = design.format_trial_problems(study, trials, [fine, wrong, fine, wrong])
    assert messages == ["study.yaml:block: `masker.area`: too big (in block)"]


def test_a_problem_of_all_trials_is_reported_once() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    problem = SettingProblem(path=("budget", "steps"), message="too few")
    wrong = TrialReply(problems=(problem,))
    messages = design.format_trial_problems(study, grid(study), [wrong] * 4)
    assert messages == ["study.yaml:2: `budget.steps`: too few"]


def test_the_label_of_a_setting_is_that_of_its_level() -> None:
    study = make_study({"masker": {"block": BLOCK}, "budget.steps": {"20": 20}})
    trial = grid(study)[-1]
    assert design.get_setting_label(trial.levels, "masker") == "block"
    assert design.get_setting_label(trial.levels, "patchifier") == "baseline"


def test_notes_are_in_the_plan_but_not_in_trials() -> None:
    plain = make_study({"masker": {"random": RANDOM, "block": BLOCK}})
    study = plain.model_copy(update={"notes": {"block": "as drawn"}})
    assert design_plan.build_plan(study, [], [], PlanReply()).notes == study.notes
    assert grid(study) == grid(plain)


def test_a_plan_warns_of_levels_with_different_visible_shares() -> None:
    study = make_study({"masker": {"random": RANDOM, "block": BLOCK}}, (0, 1))
    varied = factors.build_factors(study)
    replies = [
        make_reply(
            f"{trial.variant}{trial.seed}",
            trial.settings,
            context=0.4 if trial.variant == "random" else 0.3,
            targets=0.5,
        )
        for trial in design.build_trials(study, varied)
    ]
    trials = design.resolve_trials(design.build_trials(study, varied), replies)
    [warning] = design_plan.build_plan(study, varied, trials, PlanReply()).warnings
    assert warning.startswith("Levels of masker differ in their realised context: random 40 %")
