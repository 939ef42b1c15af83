"""Parts that cannot work together are refused before anything runs, each with a way out."""

from typing import Any

import pytest

from ablate.parts import build
from ablate.worker.compatibility import find_conflicts
from ablate.worker.trial import Trial

OBJECTIVES, TARGETS = "ablate.model.objectives", "ablate.model.targets"
REPLACE = {"encoder": {"hidden": "replace"}}
SUMMARY = {"encoder": {"summary": True}}
L2 = {"type": f"{OBJECTIVES}.L2"}
INFO_NCE = {"type": f"{OBJECTIVES}.InfoNCE"}
CROSS_ENTROPY = {"type": f"{OBJECTIVES}.CrossEntropy"}
CODEBOOK = {"type": "ablate.model.codebook.Codebook", "clusters": 4}
PER_TOKEN = {"type": "ablate.model.per_token.PerToken"}
PER_TARGET = {"type": "ablate.model.predictor.PerTarget", "dim": 16, "heads": 2}
PIXELS = {"type": f"{TARGETS}.Pixels"}
REGULARISER = {"type": "ablate.model.regularisers.VarianceCovariance"}

WRONG = {
    "a feature of what is dropped": ({"predictor": PER_TOKEN}, "predictor", "hidden: replace"),
    "padding nothing": ({**REPLACE, "batching": "pad"}, "batching", "keeps every patch"),
    "contrast within a block": (
        {"predictor": PER_TARGET, "objective": INFO_NCE},
        "objective",
        "each block by itself",
    ),
    "distance to a cluster": ({"target": CODEBOOK}, "objective", "CrossEntropy"),
    "cluster of a distance": ({"objective": CROSS_ENTROPY}, "objective", "Codebook"),
    "no summary": ({"objective": {**L2, "utterance": 1.0}}, "objective.utterance", "no summary"),
    "no mean of a clip": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0}, "target": {"input": "targets"}},
        "objective.utterance",
        "input: full",
    ),
    "no encoder of targets": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0}, "target": PIXELS},
        "objective.utterance",
        "input: full",
    ),
    "contrast of summaries": (
        {**SUMMARY, "objective": {**INFO_NCE, "utterance": 1.0}},
        "objective.utterance",
        "such as L2",
    ),
    "two kinds of mean": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0, "reduction": "token"}},
        "objective.utterance",
        "reduction: sample",
    ),
    "one target": (
        {"objective": INFO_NCE, "masker": {"type": "maskers.Random", "ratio": 0.05}},
        "objective",
        "1.0 targets per sample",
    ),
    "layers that are not there": ({"target": {"layers": 8}}, "target.layers", "the encoder has 1"),
    "variance of one clip": (
        {"regulariser": REGULARISER, "budget": {"batch": 1}},
        "budget.batch",
        "use at least two",
    ),
}
RIGHT = {
    "a feature of what is replaced": {**REPLACE, "predictor": PER_TOKEN},
    "contrast of all": {"objective": INFO_NCE},
    "clusters": {"target": CODEBOOK, "objective": CROSS_ENTROPY},
    "a summary": {**SUMMARY, "objective": {**L2, "utterance": 1.0}},
    "all layers": {"target": {"layers": "all"}},
    "blocks": {"predictor": PER_TARGET, "objective": {**L2, "reduction": "target"}},
    "variance": {"regulariser": REGULARISER},
}


def changed(settings: dict[str, Any], changes: dict[str, Any]) -> Trial:
    """A trial with some branches replaced, or added to where they have no `type` of their own."""
    for name, branch in changes.items():
        if isinstance(branch, dict) and "type" not in branch:
            default = {"type": f"{TARGETS}.Teacher"} if name == "target" else {}
            branch = {**settings.get(name, default), **branch}
        settings[name] = branch
    return build(settings, expect=Trial)


@pytest.mark.parametrize(("changes", "path", "words"), WRONG.values(), ids=WRONG)
def test_a_bad_combination_is_refused_with_a_sentence(settings, changes, path, words):
    [problem] = find_conflicts(changed(settings, changes))
    assert ".".join(problem.path) == path
    assert words in problem.message


@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT)
def test_a_good_combination_is_not(settings, changes):
    assert find_conflicts(changed(settings, changes)) == []


def test_what_must_see_its_batch_whole_is_not_cut_into_parts(settings):
    changes = {"regulariser": REGULARISER, "budget": {"accumulate": 2}}
    with pytest.raises(ValueError, match="VarianceCovariance needs the whole batch"):
        changed(settings, changes)
