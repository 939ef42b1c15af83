"""When a training is not worth going on with: its loss is no number, or it has collapsed."""

from typing import Literal

from ablate.training.batches import Batches
from ablate.training.checkpoint import Checkpoints
from ablate.training.health import Health
from ablate.training.metrics import CollapsedError, DivergedError
from ablate.training.online_probe import Online
from ablate.training.state import Progress

NAMED = 3  # clips of a batch, where a line must do

OnCollapse = Literal["warn", "stop"]


def check_finite(progress: Progress, batches: Batches, size: int, checkpoints: Checkpoints) -> None:
    """Asks the device whether every loss and gradient norm since the last report was finite.

    Raises `DivergedError` where one was not, saying which, and naming the clips of that step, of
    `size` each. It is called before anything is saved, so that no such state is.
    """
    found = progress.window.not_finite(progress.cost.steps)
    if found is None:
        return
    step, what = found
    paths, newest = batches.paths(step - 1, size), checkpoints.newest
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    raise DivergedError(
        f"the {what} is not finite at step {step}; lower the rate, or look at its clips: "
        f"{', '.join(paths[:NAMED])}{more}; "
        + (f"last good checkpoint: step {newest}" if newest else "no checkpoint before it")
        + "\nall clips of that step:\n"
        + "\n".join(paths)
    )


def check_collapse(
    progress: Progress, health: Health | None, online: Online | None, on_collapse: OnCollapse
) -> None:
    """Warns, once of each kind, where the features' rank or an online probe shows a collapse.

    Warnings go to `progress.warnings`. With `stop`, raises `CollapsedError` for the rank instead;
    the probe ends no training, as a study that does not look shares its runs with one that does.
    What was not looked at is None.
    """
    if health is not None and health.collapsed(progress.start):
        rank, before = health.effective_rank, progress.start.effective_rank
        words = _words("effective rank", f"{rank:.3g}", f"{before:.3g}", progress)
        if on_collapse == "stop":
            raise CollapsedError(words)
        _warn("effective rank", words, progress)
    if online is not None and online.fell(progress.course):
        course = progress.course
        words = _words("online score", f"{course.last:.1f}", f"{course.first:.1f}", progress)
        _warn("online score", words, progress)


def has_collapsed(progress: Progress, health: Health, online: Online | None) -> bool:
    """Whether the features' rank or an online probe shows a collapse when training has ended."""
    fell = online is not None and online.fell(progress.course)
    return fell or health.collapsed(progress.start)


def _words(what: str, now: str, before: str, progress: Progress) -> str:
    return f"{what} {now} at step {progress.cost.steps}, {before} before training"


def _warn(what: str, words: str, progress: Progress) -> None:
    if not any(warning.startswith(f"collapsed: {what}") for warning in progress.warnings):
        progress.warnings.append(f"collapsed: {words}")
