"""Checks parts that belong together: causal encoders, classes, and masks guided by the model."""

from ablate.model.batching import is_cut
from ablate.model.class_head import ClassHead
from ablate.model.class_objective import DistanceAndClasses
from ablate.model.class_target import Classes
from ablate.model.encoder import Support
from ablate.model.next_patch import NextPatch, PatchEmbedding
from ablate.parts import Problem
from ablate.worker.trial import Trial


def _check_causal(trial: Trial) -> Problem | None:
    causal = getattr(trial.encoder, "causal", False)
    if causal and trial.batching == "pad":
        message = "a causal encoder cannot read padded batches; use `pack`"
        return Problem(("batching",), message)
    predictor = trial.predictor
    inner = predictor.predictor if isinstance(predictor, ClassHead) else predictor
    if not isinstance(inner, NextPatch):
        return None
    if not causal:
        message = (
            "`NextPatch` predicts a patch from the feature before it, but the encoder has seen the "
            "patch; set `causal: true` on the encoder"
        )
        return Problem(("predictor",), message)
    if is_cut(trial.batching):
        message = (
            f"`NextPatch` needs the patch before each target, but `{trial.batching}` cuts patches; "
            "use `pack`"
        )
        return Problem(("batching",), message)
    if trial.masker.promises.context[0] < 1:
        message = (
            "`NextPatch` needs the patch before each target, but the masker hides patches; use "
            "`maskers.EveryPatch`"
        )
        return Problem(("masker",), message)
    return None


def _check_patch_embedding(trial: Trial) -> Problem | None:
    if not isinstance(trial.target, PatchEmbedding):
        return None
    return _check_support(trial, "embedding", "target", "`PatchEmbedding`")


def _check_attention(trial: Trial) -> Problem | None:
    if trial.masker.promises.needs != "attention":
        return None
    return _check_support(trial, "attention", "masker", f"`{type(trial.masker).__name__}`")


def _check_support(trial: Trial, support: Support, where: str, who: str) -> Problem | None:
    try:
        supported = trial.encoder.supports
    except ValueError:  # the encoder of a finished run cannot be read, which is another problem
        return None
    if support in supported:
        return None
    message = (
        f"{who} reads the {support} of the encoder, which `{type(trial.encoder).__name__}` does "
        "not give; use `ablate.model.vit.ViT`"
    )
    return Problem((where,), message)


def _check_classes(trial: Trial) -> Problem | None:
    """Checks that the predictor scores classes, the target makes as many, and both are compared."""
    target, objective = trial.target, trial.objective
    present = {
        ("predictor",): isinstance(trial.predictor, ClassHead),
        ("target",): isinstance(target, Classes),
        ("objective",): isinstance(objective, DistanceAndClasses),
    }
    if any(present.values()) and not all(present.values()):
        message = (
            "classes need three parts: `ablate.model.class_head.ClassHead` as `predictor`, "
            "`ablate.model.class_target.Classes` as `target`, and "
            "`ablate.model.class_objective.DistanceAndClasses` as `objective`; this is another"
        )
        return Problem(next(path for path, has_it in present.items() if not has_it), message)
    if not (isinstance(target, Classes) and isinstance(objective, DistanceAndClasses)):
        return None
    if target.classes != objective.classes:
        message = (
            f"the target has {target.classes} classes, but the objective compares "
            f"{objective.classes}; set `classes: {target.classes}`"
        )
        return Problem(("objective", "classes"), message)
    return None


METHOD_CHECKS = (_check_causal, _check_patch_embedding, _check_attention, _check_classes)
