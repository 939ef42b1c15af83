"""Parts that are sound by themselves and cannot work together: each pair with a sentence."""

from collections.abc import Callable

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


CHECKS: tuple[Check, ...] = (_rectangles_of_a_waveform,)
