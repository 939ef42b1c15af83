"""Detects divergence (a loss or gradient that is not finite) and collapse of the features."""

from typing import Literal

from ablate.training.batches import BatchSource
from ablate.training.checkpoint import Checkpoints
from ablate.training.health import Health
from ablate.training.metrics import CollapsedError, DivergedError
from ablate.training.online_probe import OnlineProbe
from ablate.training.state import TrainingState

NUM_NAMED = 3  # clips named in the first line of an error

OnCollapse = Literal["warn", "stop"]


def check_finite(
    state: TrainingState, batches: BatchSource, size: int, checkpoints: Checkpoints
) -> None:
    """Checks that all losses and gradient norms since the last report are finite.

    This waits for the device. It is called before every save, so no bad state is saved.

    Args:
        state: The training state.
        batches: Names the clips of a step.
        size: Number of clips per step.
        checkpoints: Used to name the last good checkpoint.

    Raises:
        DivergedError: With the first step that is not finite, which value, and its clips.
    """
    bad = state.window.find_not_finite(state.cost.steps)
    if bad is None:
        return
    step, name = bad
    paths, newest = batches.paths(step - 1, size), checkpoints.newest_step
    more = f" and {len(paths) - NUM_NAMED} more" if len(paths) > NUM_NAMED else ""
    raise DivergedError(
        f"the {name} is not finite at step {step}; lower the learning rate or check its clips: "
        f"{', '.join(paths[:NUM_NAMED])}{more}; "
        + (f"last good checkpoint: step {newest}" if newest else "no checkpoint before it")
        + "\nall clips of that step:\n"
        + "\n".join(paths)
    )


def check_collapse(
    state: TrainingState,
    health: Health | None,
    probe: OnlineProbe | None,
    on_collapse: OnCollapse,
) -> None:
    """Adds a warning to `state.warnings`, once per kind, if the features have collapsed.

    Signs of collapse are a low effective rank and a low online score. With `on_collapse="stop"` a
    low rank raises `CollapsedError` instead. A low score never stops training: studies with and
    without an online probe share their runs. `health` or `probe` is None if it was not measured.
    """
    if health is not None and health.has_collapsed(state.start):
        rank, before = health.effective_rank, state.start.effective_rank
        message = _format("effective rank", f"{rank:.3g}", f"{before:.3g}", state)
        if on_collapse == "stop":
            raise CollapsedError(message)
        _warn("effective rank", message, state)
    if probe is not None and probe.has_fallen(state.probe_history):
        history = state.probe_history
        message = _format("online score", f"{history.last:.1f}", f"{history.first:.1f}", state)
        _warn("online score", message, state)


def has_collapsed(state: TrainingState, health: Health, probe: OnlineProbe | None) -> bool:
    """Whether the effective rank or the online score shows a collapse at the end of training."""
    has_fallen = probe is not None and probe.has_fallen(state.probe_history)
    return has_fallen or health.has_collapsed(state.start)


def _format(name: str, now: str, before: str, state: TrainingState) -> str:
    return f"{name} {now} at step {state.cost.steps}, {before} before training"


def _warn(name: str, message: str, state: TrainingState) -> None:
    if not any(warning.startswith(f"collapsed: {name}") for warning in state.warnings):
        state.warnings.append(f"collapsed: {message}")
