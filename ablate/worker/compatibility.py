"""Parts that are sound by themselves and cannot work together: each pair with a sentence."""

from collections.abc import Callable

from ablate.mask_analysis.statistics import realised_shares
from ablate.model.stems import AbstractStem, Convolutional2D, Speech1D, Waveform
from ablate.model.targets import Teacher
from ablate.parts import Problem
from ablate.worker.trial import Trial

Check = Callable[[Trial], Problem | None]


def refused(trial: Trial) -> list[Problem]:
    """Returns what is wrong between the parts of a trial, by the path of the setting to change."""
    return [problem for check in CHECKS if (problem := check(trial)) is not None]


def _rectangles_of_a_waveform(trial: Trial) -> Problem | None:
    bands = trial.patchifier.size[0]
    if trial.mel.bands > 1 or bands == 1:
        return None
    message = (
        f"patches are {bands} bands high, but `mel` gives a waveform, which has one; cut it by "
        "`type: ablate.model.patchify.Windows`, or let `mel` be an `ablate.audio.mel.LogMel`"
    )
    return Problem(("patchifier",), message)


def _stem_of_another_sound(trial: Trial) -> Problem | None:
    stem = _stem(trial)
    if not isinstance(stem, Waveform):
        return None
    if trial.mel.bands > 1:
        message = (
            f"the stem reads a waveform, but `mel` gives {trial.mel.bands} mel bands; let `mel` "
            "be an `ablate.audio.waveform.Waveform`, or leave the stem out"
        )
        return Problem(("encoder", "stem"), message)
    if trial.patchifier.stride[1] == stem.hop and trial.patchifier.size[1] == stem.window:
        return None
    window, step = trial.patchifier.size[1], trial.patchifier.stride[1]
    message = (
        f"the stem makes a token of {stem.window} samples every {stem.hop}, but the patchifier "
        f"cuts {window} every {step}; give it `time: {stem.window}, time_stride: {stem.hop}`"
    )
    return Problem(("patchifier",), message)


def _stem_of_another_shape(trial: Trial) -> Problem | None:
    """The stem itself compares numbers of values: 4 bands of 64 frames pass for 64 of 4."""
    stem, size = _stem(trial), trial.patchifier.size
    if not isinstance(stem, Convolutional2D | Speech1D) or (stem.freq, stem.time) == size:
        return None
    message = (
        f"the stem is for patches of `freq` {stem.freq} and `time` {stem.time}, but the "
        f"patchifier cuts {size[0]} bands by {size[1]} frames; give the stem the same"
    )
    return Problem(("encoder", "stem"), message)


def _stem(trial: Trial) -> AbstractStem | None:
    return getattr(trial.encoder, "stem", None)


def _features_of_dropped_patches(trial: Trial) -> Problem | None:
    if trial.predictor.reads == "context" or _hidden(trial) == "replace":
        return None
    message = (
        f"{_name(trial.predictor)} reads the features of hidden patches, but the encoder drops "
        "them; give the encoder `hidden: replace`, or take another predictor"
    )
    return Problem(("predictor",), message)


def _padding_of_a_full_grid(trial: Trial) -> Problem | None:
    if trial.batching != "pad" or _hidden(trial) == "drop":
        return None
    message = (
        "`pad` fills up what an encoder drops, but this one keeps every patch; use `pack`, or "
        "give the encoder `hidden: drop`"
    )
    return Problem(("batching",), message)


def _blocks_apart_for_an_objective_of_all(trial: Trial) -> Problem | None:
    if not (trial.predictor.by_block and trial.objective.contrastive):
        return None
    message = (
        f"{_name(trial.objective)} compares all targets of a sample, but "
        f"{_name(trial.predictor)} predicts each block by itself; use a predictor that predicts "
        "all at once, such as `ablate.model.predictor.Joint`"
    )
    return Problem(("objective",), message)


def _clusters_without_their_objective(trial: Trial) -> Problem | None:
    if trial.target.discrete == trial.objective.discrete:
        return None
    if trial.target.discrete:
        way_out = "measures distances; use `ablate.model.objectives.CrossEntropy`"
        message = f"the target is one of several clusters, but {_name(trial.objective)} {way_out}"
    else:
        way_out = "gives none; use `ablate.model.codebook.Codebook`"
        message = f"{_name(trial.objective)} asks for clusters, but {_name(trial.target)} {way_out}"
    return Problem(("objective",), message)


def _summary_without_its_target(trial: Trial) -> Problem | None:
    """The utterance loss needs a summary, a mean of the clip's targets, and a plain distance."""
    objective, target = trial.objective, trial.target
    if objective.utterance == 0:
        return None
    if not getattr(trial.encoder, "summary", False):
        missing = f"{_name(trial.encoder)} has no summary; set `summary: true`, if it takes it"
    elif not isinstance(target, Teacher) or target.input != "full":
        missing = "no target encoder sees the whole clip; use a Teacher of `input: full`"
    elif objective.discrete or objective.contrastive:
        missing = f"{_name(objective)} cannot compare summaries; use a distance such as L2"
    elif objective.reduction != "sample":
        missing = "it is a mean over samples, so the rest must be one too; use `reduction: sample`"
    else:
        return None
    return Problem(("objective", "utterance"), f"{objective.utterance} cannot be used: {missing}")


def _too_few_to_tell_apart(trial: Trial) -> Problem | None:
    if not trial.objective.contrastive:
        return None
    try:
        grid = trial.twin.grid
        found = realised_shares(trial.masker, grid, trial.batching, trial.budget.batch)
    except Exception:  # told where masks are tried; a stranger's may raise anything
        return None
    targets = found.targets * grid.size
    if targets >= 2:
        return None
    message = (
        f"{_name(trial.objective)} contrasts a sample's targets with each other, but the masker "
        f"gives {targets:.1f} targets per sample on a grid of {grid}; ask for two at least"
    )
    return Problem(("objective",), message)


def _more_layers_than_there_are(trial: Trial) -> Problem | None:
    there = getattr(trial.encoder, "layers", None)
    if not isinstance(trial.target, Teacher) or there is None or trial.target.layers == "all":
        return None
    if trial.target.layers <= there:
        return None
    message = f"it averages {trial.target.layers} layers, but the encoder has {there}"
    return Problem(("target", "layers"), message)


def _one_clip_that_should_vary(trial: Trial) -> Problem | None:
    if not trial.coupling or trial.budget.batch > 1:
        return None
    message = f"{trial.coupling} compares clips, and a batch holds one; use at least two"
    return Problem(("budget", "batch"), message)


def _hidden(trial: Trial) -> str:
    """What an encoder makes of hidden patches, as its settings say."""
    return getattr(trial.encoder, "hidden", "drop")


def _name(part: object) -> str:
    return type(part).__name__


CHECKS: tuple[Check, ...] = (
    _rectangles_of_a_waveform,
    _stem_of_another_sound,
    _stem_of_another_shape,
    _features_of_dropped_patches,
    _padding_of_a_full_grid,
    _blocks_apart_for_an_objective_of_all,
    _clusters_without_their_objective,
    _summary_without_its_target,
    _too_few_to_tell_apart,
    _more_layers_than_there_are,
    _one_clip_that_should_vary,
)
