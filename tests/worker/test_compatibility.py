"""Parts that cannot work together are reported before anything runs, with a remedy."""

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
CAUSAL = {"encoder": {"causal": True}}
NEXT_PATCH = {"type": "ablate.model.next_patch.NextPatch"}
PATCH_EMBEDDING = {"type": "ablate.model.next_patch.PatchEmbedding"}
EVERY_PATCH = {"type": "maskers.EveryPatch"}
CONFORMER = {"type": "ablate.model.conformer.Conformer", "dim": 16, "heads": 2, "layers": 1}
JOINT = {"type": "ablate.model.predictor.Joint", "dim": 16, "heads": 2, "layers": 1}
CLASS_HEAD = {"type": "ablate.model.class_head.ClassHead", "predictor": JOINT}
CLASSES = {"type": "ablate.model.class_target.Classes"}
WITH_CLASSES = {"type": "ablate.model.class_objective.DistanceAndClasses"}
VIEWS = "ablate.training.input_views"
GAIN = {"type": f"{VIEWS}.Gain"}
LOG_MIXUP = {"type": "ablate.training.log_mixup.LogMixup"}
WAVEFORM = {
    "mel": {"type": "ablate.audio.waveform.Waveform"},
    "crop_frames": 16000,
    "patchifier": {"type": "ablate.model.patchify.Windows"},
}

WRONG = {
    "features of dropped patches": ({"predictor": PER_TOKEN}, "predictor", "hidden: replace"),
    "padding without dropped patches": (
        {**REPLACE, "batching": "pad"},
        "batching",
        "keeps every patch",
    ),
    "contrast between blocks": (
        {"predictor": PER_TARGET, "objective": INFO_NCE},
        "objective",
        "each block by itself",
    ),
    "distance between clusters": ({"target": CODEBOOK}, "objective", "CrossEntropy"),
    "cross-entropy without clusters": ({"objective": CROSS_ENTROPY}, "objective", "Codebook"),
    "no summary": ({"objective": {**L2, "utterance": 1.0}}, "objective.utterance", "no summary"),
    "summary without targets of the whole clip": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0}, "target": {"input": "targets"}},
        "objective.utterance",
        "input: full",
    ),
    "summary without a target encoder": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0}, "target": PIXELS},
        "objective.utterance",
        "input: full",
    ),
    "contrast of summaries": (
        {**SUMMARY, "objective": {**INFO_NCE, "utterance": 1.0}},
        "objective.utterance",
        "such as L2",
    ),
    "two kinds of reduction": (
        {**SUMMARY, "objective": {**L2, "utterance": 1.0, "reduction": "token"}},
        "objective.utterance",
        "reduction: sample",
    ),
    "one target": (
        {"objective": INFO_NCE, "masker": {"type": "maskers.Random", "ratio": 0.05}},
        "objective",
        "1.0 targets per sample",
    ),
    "more layers than the encoder has": (
        {"target": {"layers": 8}},
        "target.layers",
        "the encoder has 1",
    ),
    "padded batches of a causal encoder": ({**CAUSAL, "batching": "pad"}, "batching", "use `pack`"),
    "next patches that the encoder has seen": (
        {"predictor": NEXT_PATCH, "masker": EVERY_PATCH},
        "predictor",
        "causal: true",
    ),
    "next patches behind a head": (
        {
            "predictor": {**CLASS_HEAD, "predictor": NEXT_PATCH},
            "target": CLASSES,
            "objective": WITH_CLASSES,
            "masker": EVERY_PATCH,
        },
        "predictor",
        "causal: true",
    ),
    "next patches that are cut to a count": (
        {
            **CAUSAL,
            "predictor": NEXT_PATCH,
            "masker": EVERY_PATCH,
            "batching": "truncate_random",
        },
        "batching",
        "use `pack`",
    ),
    "next patches of hidden patches": (
        {**CAUSAL, "predictor": NEXT_PATCH},
        "masker",
        "maskers.EveryPatch",
    ),
    "embeddings that an encoder does not give": (
        {"encoder": CONFORMER, "target": PATCH_EMBEDDING},
        "target",
        "reads the embedding of the encoder",
    ),
    "attention that an encoder does not give": (
        {"encoder": CONFORMER, "masker": {"type": "maskers.AttentionGuided"}},
        "masker",
        "reads the attention of the encoder",
    ),
    "classes without a head": (
        {"target": CLASSES, "objective": WITH_CLASSES},
        "predictor",
        "class_head.ClassHead",
    ),
    "classes that are not compared": (
        {"predictor": CLASS_HEAD, "target": CLASSES},
        "objective",
        "DistanceAndClasses",
    ),
    "two numbers of classes": (
        {
            "predictor": CLASS_HEAD,
            "target": {**CLASSES, "classes": 8},
            "objective": WITH_CLASSES,
        },
        "objective.classes",
        "set `classes: 8`",
    ),
    "one view in both roles": ({"symmetric": True}, "symmetric", "set `view` or `target_view`"),
    "a mixture within a view of a waveform": (
        {**WAVEFORM, "target_view": {"type": f"{VIEWS}.Sequence", "views": [LOG_MIXUP]}},
        "target_view",
        "`LogMixup` works on log-mels",
    ),
    "a mixture of one clip": (
        {"view": LOG_MIXUP, "budget": {"batch": 1}},
        "budget.batch",
        "`LogMixup` mixes the clips of a batch",
    ),
    "variance over one clip": (
        {"regulariser": REGULARISER, "budget": {"batch": 1}},
        "budget.batch",
        "use at least two",
    ),
}
RIGHT = {
    "features of replaced patches": {**REPLACE, "predictor": PER_TOKEN},
    "contrast between all targets": {"objective": INFO_NCE},
    "clusters": {"target": CODEBOOK, "objective": CROSS_ENTROPY},
    "classes": {"predictor": CLASS_HEAD, "target": CLASSES, "objective": WITH_CLASSES},
    "next patches": {
        **CAUSAL,
        "predictor": NEXT_PATCH,
        "target": PATCH_EMBEDDING,
        "masker": EVERY_PATCH,
    },
    "attention": {"masker": {"type": "maskers.AttentionGuided"}},
    "a summary": {**SUMMARY, "objective": {**L2, "utterance": 1.0}},
    "all layers": {"target": {"layers": "all"}},
    "blocks": {"predictor": PER_TARGET, "objective": {**L2, "reduction": "target"}},
    "variance": {"regulariser": REGULARISER},
    "two views": {"view": LOG_MIXUP, "target_view": GAIN, "symmetric": True},
    "one view of a waveform": {**WAVEFORM, "view": GAIN, "symmetric": True},
}


def build_trial(settings: dict[str, Any], changes: dict[str, Any]) -> Trial:
    """Builds a trial with changed settings; a branch without a `type` is merged, not replaced."""
    for name, branch in changes.items():
        if isinstance(branch, dict) and "type" not in branch:
            default = {"type": f"{TARGETS}.Teacher"} if name == "target" else {}
            branch = {**settings.get(name, default), **branch}
        settings[name] = branch
    return build(settings, expect=Trial)


@pytest.mark.parametrize(("changes", "path", "words"), WRONG.values(), ids=WRONG)
def test_a_conflict_is_reported_at_its_setting(settings, changes, path, words):
    [problem] = find_conflicts(build_trial(settings, changes))
    assert ".".join(problem.path) == path
    assert words in problem.message


@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT)
def test_compatible_parts_have_no_conflict(settings, changes):
    assert find_conflicts(build_trial(settings, changes)) == []


def test_a_coupled_loss_cannot_accumulate(settings):
    changes = {"regulariser": REGULARISER, "budget": {"accumulate": 2}}
    with pytest.raises(ValueError, match="VarianceCovariance needs the whole batch"):
        build_trial(settings, changes)
