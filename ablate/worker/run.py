"""One run folder, from its `config.json` to *done*: training and scores, where they are missing.

The process that runs it is the only writer of `run.json` and of all that training leaves.
"""

import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ablate.core.io import read_json
from ablate.parts import build
from ablate.runs.heartbeat import HeartbeatWriter
from ablate.runs.record import Ended, RunState, SupersededError
from ablate.training.distributed import RankLostError
from ablate.training.metrics import CollapsedError, DivergedError
from ablate.training.signals import PausedError, StoppedError
from ablate.worker.code_digest import digests
from ablate.worker.context import RunContext
from ablate.worker.evaluate import ENCODER, score_run
from ablate.worker.online_probe import build_online_probe
from ablate.worker.probes import build_probes
from ablate.worker.train import train, train_helper_rank
from ablate.worker.trial import KINDS, Sound, Subject, Trial, fingerprint, open_sound


def run(
    folder: Path,
    probes: Mapping[str, Any],
    session: RunContext,
    evaluate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs what is missing in a run folder and says how it ended.

    With `session.until`, training pauses at that step, and its encoder then is scored. `evaluate`
    says by which of the probes it is looked at while it trains, and how often.

    Whatever a trial raises is written down in its `run.json` and returned as its reason: one
    failed trial does not stop a study. It is only returned where the folder cannot be written to.
    An error of the accelerator, or a signal outside of training, ends the process once it is
    written down. Raises `FileNotFoundError` for a folder without `config.json`.
    """
    config = read_json(folder / "config.json")
    try:
        state = RunState(
            folder,
            kind=config["kind"],
            device=str(session.device),
            parts=digests(config["settings"]),
        )
        return _run(folder, config, probes, evaluate, session, state)
    except SupersededError as error:  # what the other process writes stands
        return {"state": "failed", "reason": f"error: {error}"}
    except OSError as error:
        return {"state": "failed", "reason": _reason(error)}


def _run(
    folder: Path,
    config: Mapping[str, Any],
    probes: Mapping[str, Any],
    evaluate: Mapping[str, Any] | None,
    session: RunContext,
    state: RunState,
) -> dict[str, Any]:
    trained, place = False, folder
    try:
        subject, sound = _open(folder, config, session.cache)
        examining = build_probes(probes)
        if isinstance(subject, Trial) and not (folder / ENCODER).exists():
            state.put("running")
            with session.stop.deferred(), HeartbeatWriter(folder):
                look = None
                if evaluate is not None:
                    look = build_online_probe(evaluate, examining, subject, sound, session)
                place = train(folder, subject, sound, session, state, look)
            trained = True
            session.stop.exit_if_received()  # one that came after the last step
        with HeartbeatWriter(folder):
            scored = score_run(place, subject, examining, sound, session)
    except SupersededError:
        raise
    except StoppedError as stopped:
        state.put("preempted", str(stopped))
        return {"state": "preempted", "reason": str(stopped)}
    except Exception as error:  # a trial's border: a stranger's part may raise anything
        reason = _reason(error)
        if isinstance(error, CollapsedError):
            state.facts["collapsed"] = True
        state.put(_kept(folder, state, "failed"), reason, details=traceback.format_exc())
        if isinstance(error, torch.AcceleratorError):
            raise SystemExit(1) from error  # no later trial can use this process's device
        return {"state": "failed", "reason": reason}
    except BaseException:  # told to stop
        state.put(_kept(folder, state, "cancelled"), "stopped before it was done")
        raise
    if place != folder:
        reason = f"paused at step {session.until}"
        state.put("preempted", reason)
        return {"state": "paused", "reason": reason}
    state.put("done")
    return {"state": "done", "trained": trained, "probed": scored}


def _kept(folder: Path, state: RunState, ended: Ended) -> Ended:
    """Says *done* of what is trained: a scoring that ends early takes nothing from it.

    Other studies may share the run.
    """
    return "done" if state.was_done or (folder / ENCODER).exists() else ended


def run_helper_rank(folder: Path, session: RunContext) -> None:
    """Does another rank's part of the training in a run folder, and writes nothing.

    To be called between steps, for a signal has to wait for the first rank. With `session.until`,
    to that step and no further. Raises whatever its trial raises; `StoppedError` where the ranks
    were told to stop.
    """
    subject, sound = _open(folder, read_json(folder / "config.json"), session.cache)
    if isinstance(subject, Trial) and not (folder / ENCODER).exists():
        with suppress(PausedError):
            train_helper_rank(folder, subject, sound, session)


def _open(folder: Path, config: Mapping[str, Any], cache: Path) -> tuple[Subject, Sound]:
    """Builds what a folder's settings say, and opens its sound.

    Raises `ValueError` where they lead to other sound or code than the folder's name says.
    """
    subject = build(config["settings"], expect=KINDS[config["kind"]])
    sound = open_sound(subject.data, subject.mel, cache, check_files=False, probed=False)
    found = fingerprint(subject, sound.store.digest)
    if found != folder.name:
        raise ValueError(
            f"`{folder.name}` was planned, but its config.json is now {found}: "
            "the sound or a part's version has changed since; plan the study again"
        )
    return subject, sound


def _reason(error: Exception) -> str:
    """Says in a line why a trial failed, its kind first."""
    kinds = {
        DivergedError: "nan",
        CollapsedError: "collapsed",
        torch.OutOfMemoryError: "oom",
        MemoryError: "oom",
        RankLostError: "node",
    }
    kind = next((word for found, word in kinds.items() if isinstance(error, found)), "error")
    words = str(error).strip().splitlines() or [""]
    return (
        f"{kind}: {words[0]}" if kind != "error" else f"error: {type(error).__name__}: {words[0]}"
    )
