"""Plans of trials whose masker has a `match`."""

import pytest

from ablate.worker.validation import plan


def match_context(share):
    match = {"context": share, "by": "context_area"}
    return {"type": "maskers.MultiBlock", "match": match}


def test_a_plan_contains_the_value_and_fingerprints_it(settings, cache):
    with_match = {**settings, "masker": match_context(0.3)}
    [entry] = plan([with_match], {}, cache, lambda event: None)["trials"]
    [match] = entry["matched"]
    assert entry["problems"] == []
    assert entry["settings"]["masker"]["context_area"] == match["value"]
    assert entry["context"] == match["reached"] == pytest.approx(0.3, abs=0.01)
    written = {**settings, "masker": entry["settings"]["masker"]}
    [again] = plan([written], {}, cache, lambda event: None)["trials"]
    assert again["fingerprint"] == entry["fingerprint"]


def test_every_patchifier_has_its_own_value(settings, cache):
    strips = {"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 2}
    with_match = {**settings, "masker": match_context(0.35)}
    entries = plan(
        [with_match, {**with_match, "patchifier": strips}], {}, cache, lambda event: None
    )
    values = [entry["matched"][0]["value"] for entry in entries["trials"]]
    assert values[0] != values[1]


def test_an_impossible_match_is_a_problem_of_its_trial_only(settings, cache):
    bad = {**settings, "masker": match_context(0.9)}
    entries = plan([bad, settings], {}, cache, lambda event: None)["trials"]
    assert [problem["path"] for problem in entries[0]["problems"]] == [["masker", "match"]]
    assert entries[1]["problems"] == []


def test_a_patch_that_does_not_divide_is_reported_before_any_match(settings, cache):
    bad = {"type": "ablate.model.patchify.Rectangles", "freq": 5}
    with_match = {**settings, "masker": match_context(0.406), "patchifier": bad}
    [entry] = plan([with_match], {}, cache, lambda event: None)["trials"]
    assert [problem["path"] for problem in entry["problems"]] == [["patchifier"]]
