"""Plans of trials whose masker has a `match`."""

import pytest

from tests.worker.runs import plan_trial, plan_trials


def match_context(share):
    match = {"context": share, "by": "context_area"}
    return {"type": "maskers.MultiBlock", "match": match}


def test_a_plan_contains_the_value_and_fingerprints_it(settings, cache):
    with_match = {**settings, "masker": match_context(0.3)}
    trial = plan_trial(with_match, cache)
    [match] = trial.facts.matched
    assert trial.settings["masker"]["context_area"] == list(match.value)
    assert trial.facts.context == match.reached == pytest.approx(0.3, abs=0.01)
    written = {**settings, "masker": trial.settings["masker"]}
    assert plan_trial(written, cache).fingerprint == trial.fingerprint


def test_every_patchifier_has_its_own_value(settings, cache):
    strips = {"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 2}
    with_match = {**settings, "masker": match_context(0.35)}
    reply = plan_trials([with_match, {**with_match, "patchifier": strips}], {}, cache)
    values = [trial.facts.matched[0].value for trial in reply.get_resolved()]
    assert values[0] != values[1]


def test_an_impossible_match_is_a_problem_of_its_trial_only(settings, cache):
    bad = {**settings, "masker": match_context(0.9)}
    first, second = plan_trials([bad, settings], {}, cache).trials
    assert [problem.path for problem in first.problems] == [("masker", "match")]
    assert second.problems == ()


def test_a_patch_that_does_not_divide_is_reported_before_any_match(settings, cache):
    bad = {"type": "ablate.model.patchify.Rectangles", "freq": 5}
    with_match = {**settings, "masker": match_context(0.406), "patchifier": bad}
    [reply] = plan_trials([with_match], {}, cache).trials
    assert [problem.path for problem in reply.problems] == [("patchifier",)]
