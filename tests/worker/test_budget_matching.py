"""Matched budgets agree with that of the baseline to within one step."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from ablate.core.records.planning import BudgetMatch
from ablate.model.batching import truncate
from ablate.model.masking import Clips
from ablate.parts import PartError, build
from ablate.worker.budget_matching import TargetBudget
from ablate.worker.meta_model import estimate_step_flops
from ablate.worker.trial import Trial
from tests.worker.runs import plan_trial, plan_trials

MASKERS = [
    {"type": "maskers.MultiBlock"},
    {"type": "maskers.Random", "ratio": 0.25},
    {"type": "maskers.Random", "ratio": 0.75},
]


def build_trial(settings, masker, size, batch):
    patches = {"type": "ablate.model.patchify.Rectangles", "freq": size, "time": 8}
    budget = {"steps": 60, "batch": batch}
    return build(
        {**settings, "masker": masker, "patchifier": patches, "budget": budget}, expect=Trial
    )


@pytest.mark.parametrize("by", ["steps", "clips", "flops"])
@effort(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    masker=st.sampled_from(MASKERS),
    size=st.sampled_from([8, 16]),
    batch=st.sampled_from([2, 4, 6]),
)
def test_totals_agree_within_the_cost_of_a_step(settings, by, masker, size, batch):
    target = TargetBudget.from_baseline(by, build(settings, expect=Trial))
    trial, budget = target.match(build_trial(settings, masker, size, batch))
    assert budget.steps == trial.budget.steps
    assert budget.clips == budget.steps * batch
    total = getattr(budget, by)
    assert abs(total - target.total) <= total / budget.steps


@pytest.mark.parametrize(
    ("encoder", "batching"),
    [
        ("ablate.model.vit.ViT", "pack"),
        ("ablate.model.vit.ViT", "pad"),
        ("ablate.model.vit.ViT", "truncate_random"),
        ("ablate.model.conformer.Conformer", "pack"),
    ],
)
def test_estimated_flops_agree_with_those_that_a_run_counts(settings, encoder, batching):
    settings["encoder"] = {"type": encoder, "dim": 16, "layers": 1, "heads": 2}
    trial = build({**settings, "batching": batching}, expect=Trial)
    grid, clips, drawn = trial.grid, trial.budget.batch, torch.Generator().manual_seed(3)
    jepa, counted = trial.build_jepa(), []
    patches = torch.randn(clips, grid.size, trial.patchifier.pixels)
    valid = torch.ones(clips, grid.size, dtype=torch.bool)
    for step in range(40):
        mask = trial.masker.draw(Clips.unpadded(grid, clips, progress=step / 40), drawn)
        prediction = jepa(patches, truncate(mask, batching, drawn), valid, batching)
        counted.append(jepa.flops(prediction.query))
    assert estimate_step_flops(trial) == pytest.approx(sum(counted) / len(counted), rel=0.15)


def test_a_step_that_uses_two_views_in_both_roles_costs_twice_as_much(settings):
    view = {"type": "ablate.training.input_views.Gain"}
    one = build({**settings, "view": view}, expect=Trial)
    both = build({**settings, "view": view, "symmetric": True}, expect=Trial)
    assert estimate_step_flops(both) == pytest.approx(2 * estimate_step_flops(one), abs=1)


def test_the_fingerprint_contains_the_matched_steps(settings, cache):
    other = {**copy.deepcopy(settings), "masker": {"type": "maskers.Random", "ratio": 0.25}}
    match = BudgetMatch(by="flops", baseline=settings)
    both = [settings, other]
    plain = plan_trials(both, {}, cache).get_resolved()
    matched = plan_trials(both, {}, cache, match_budget=match).get_resolved()
    assert matched[0].fingerprint == plain[0].fingerprint
    steps = matched[1].facts.budget.steps
    assert matched[1].settings["budget"]["steps"] == steps != 60
    written = copy.deepcopy(other)
    written["budget"]["steps"] = steps
    assert plan_trial(written, cache).fingerprint == matched[1].fingerprint


def test_an_invalid_baseline_is_reported_with_its_path(settings, cache):
    wrong = {**settings, "masker": {"type": "maskers.Random", "ratio": 2}}
    match = BudgetMatch(by="clips", baseline=wrong)
    with pytest.raises(PartError) as error:
        plan_trials([settings], {}, cache, match_budget=match)
    assert error.value.problems[0].path[:2] == ("baseline", "masker")
