"""When a training is not worth going on with: its loss is no number, or it has collapsed."""

from collections.abc import Sequence
from typing import Literal

from ablate.training.health import Health
from ablate.training.meter import CollapsedError, DivergedError
from ablate.training.online import Online
from ablate.training.progress import Progress

NAMED = 3  # clips of a batch, where a line must do

OnCollapse = Literal["warn", "stop"]


def diverged(step: int, paths: Sequence[str], newest: int | None) -> DivergedError:
    """Words a loss that is not finite at a step, by its clips and the last good checkpoint."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return DivergedError(
        f"the loss is not finite at step {step}; lower the rate, or look at its clips: "
        f"{', '.join(paths[:NAMED])}{more}; "
        + (f"last good checkpoint: step {newest}" if newest else "no checkpoint before it")
        + "\nall clips of that step:\n"
        + "\n".join(paths)
    )


def check_collapse(
    progress: Progress, health: Health | None, online: Online | None, on_collapse: OnCollapse
) -> None:
    """Warns, once of each kind, where the features' rank or an online probe says collapse.

    Raises `CollapsedError` where that is to end the training. What was not looked at is None.
    """
    if health is not None and health.collapsed(progress.start):
        rank, before = health.effective_rank, progress.start.effective_rank
        _tell("effective rank", f"{rank:.3g}", f"{before:.3g}", progress, on_collapse)
    if online is not None and online.fell(progress.course):
        score, before = progress.course.last, progress.course.first
        _tell("online score", f"{score:.1f}", f"{before:.1f}", progress, on_collapse)


def _tell(what: str, now: str, before: str, progress: Progress, on_collapse: OnCollapse) -> None:
    words = f"{what} {now} at step {progress.cost.steps}, {before} before training"
    if on_collapse == "stop":
        raise CollapsedError(words)
    if not any(warning.startswith(f"collapsed: {what}") for warning in progress.warnings):
        progress.warnings.append(f"collapsed: {words}")
