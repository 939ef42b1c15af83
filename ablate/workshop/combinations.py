"""Parts that are sound by themselves and cannot work together: each pair with a sentence."""

from collections.abc import Callable

from ablate.model.stems import AbstractStem, Convolutional2D, Speech1D, Waveform
from ablate.parts import Problem
from ablate.workshop.subjects import Trial

Check = Callable[[Trial], Problem | None]


def refused(trial: Trial) -> list[Problem]:
    """Returns what is wrong between the parts of a trial; each check looks for one thing."""
    return [problem for check in CHECKS if (problem := check(trial)) is not None]


def _rectangles_of_a_waveform(trial: Trial) -> Problem | None:
    bands = trial.patchifier.size[0]
    if trial.mel.bands > 1 or bands == 1:
        return None
    message = (
        f"patches are {bands} bands high, and `mel` gives a waveform, of one; cut it by "
        "`type: ablate.model.patchify.Windows`, or let `mel` be an `ablate.audio.mel.LogMel`"
    )
    return Problem(("patchifier",), message)


def _stem_of_another_sound(trial: Trial) -> Problem | None:
    stem = _stem(trial)
    if not isinstance(stem, Waveform):
        return None
    if trial.mel.bands > 1:
        message = (
            f"the stem reads a waveform, and `mel` gives {trial.mel.bands} mel bands; let `mel` "
            "be an `ablate.audio.waveform.Waveform`, or leave the stem out"
        )
        return Problem(("encoder", "stem"), message)
    if trial.patchifier.stride[1] == stem.hop and trial.patchifier.size[1] == stem.window:
        return None
    window, step = trial.patchifier.size[1], trial.patchifier.stride[1]
    message = (
        f"the stem makes a token of {stem.window} samples every {stem.hop}, and the patchifier "
        f"cuts {window} every {step}; give it `time: {stem.window}, time_stride: {stem.hop}`"
    )
    return Problem(("patchifier",), message)


def _stem_of_another_shape(trial: Trial) -> Problem | None:
    """The stem itself compares numbers of values: 4 bands of 64 frames pass for 64 of 4."""
    stem, size = _stem(trial), trial.patchifier.size
    if not isinstance(stem, Convolutional2D | Speech1D) or (stem.freq, stem.time) == size:
        return None
    message = (
        f"the stem is for patches of `freq` {stem.freq} and `time` {stem.time}, and the "
        f"patchifier cuts {size[0]} bands by {size[1]} frames; give the stem these"
    )
    return Problem(("encoder", "stem"), message)


def _stem(trial: Trial) -> AbstractStem | None:
    return getattr(trial.encoder, "stem", None)


CHECKS: tuple[Check, ...] = (
    _rectangles_of_a_waveform,
    _stem_of_another_sound,
    _stem_of_another_shape,
)
