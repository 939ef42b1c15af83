"""Runs one run folder, from its `config.json` to done: trains and scores what is missing.

The process that runs a folder is the only writer of what training leaves in it.
"""

import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ablate.core.device import get_device_name
from ablate.core.io import DamagedFileError
from ablate.core.machine_errors import describe_machine_error
from ablate.core.records.messages import RunReply
from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.run import CONFIG_FILE, ENCODER_FILE, FailureKind, RunConfig
from ablate.parts import build
from ablate.runs.heartbeat import HeartbeatWriter
from ablate.runs.record import RunAttempt, SupersededError
from ablate.training.distributed import RankLostError
from ablate.training.metrics import CollapsedError, DivergedError
from ablate.training.signals import PausedError, StoppedError
from ablate.worker.audio_data import AudioData, open_audio
from ablate.worker.code_digest import compute_code_digests
from ablate.worker.context import RunContext
from ablate.worker.evaluate import score_run
from ablate.worker.lost_sound import describe_lost_sound
from ablate.worker.online_probe import build_online_probe
from ablate.worker.probes import build_probes
from ablate.worker.train import train, train_helper_rank
from ablate.worker.trial import KINDS, Evaluable, Trial, compute_fingerprint

FAILURES: Mapping[type[Exception], FailureKind] = {
    DivergedError: "nan",
    CollapsedError: "collapsed",
    torch.OutOfMemoryError: "oom",
    MemoryError: "oom",
    RankLostError: "node",
}


def run(
    folder: Path,
    probes: Mapping[str, Any],
    context: RunContext,
    evaluate: EvaluatePlan | None = None,
) -> RunReply:
    """Runs what is missing in a run folder.

    Whatever a trial raises is recorded in its `run.json` and returned as the reason: one failed
    trial does not stop a study. An error of the machine, such as a full disk, is recorded as a
    preemption, if that can still be written, and returned with `machine_failed`. An error of the
    accelerator, or a signal outside of training, is recorded and then ends the process.

    Args:
        folder: the run folder; it holds `config.json`.
        probes: settings of the probes, by name.
        context: device, cache and ranks. With `context.until`, training pauses at that step and
            the encoder is scored there.
        evaluate: how the encoder is scored during training; None if it is not.

    Raises:
        FileNotFoundError: the folder has no `config.json`.
    """
    config = RunConfig.read(folder / CONFIG_FILE)
    try:
        attempt = RunAttempt(
            folder,
            kind=config.kind,
            device=str(context.device),
            device_name=get_device_name(context.device),
            parts=compute_code_digests(config.settings),
        )
        return _run(folder, config, probes, evaluate, context, attempt)
    except SupersededError as error:  # the record of the other process stays
        return RunReply(state="failed", reason=f"error: {error}")
    except OSError as error:  # also if the end of the run cannot be recorded
        machine = describe_machine_error(error, (folder, context.cache))
        if machine is not None:
            return RunReply(state="preempted", reason=f"node: {machine}", machine_failed=True)
        return RunReply(state="failed", reason=_format_reason(error))


def _run(
    folder: Path,
    config: RunConfig,
    probes: Mapping[str, Any],
    evaluate: EvaluatePlan | None,
    context: RunContext,
    attempt: RunAttempt,
) -> RunReply:
    trained, encoder_folder = False, folder
    try:
        evaluable, audio = _open(folder, config, context.cache)
        built = build_probes(probes)
        if isinstance(evaluable, Trial) and not (folder / ENCODER_FILE).exists():
            attempt.start()
            with context.stop.deferred(), HeartbeatWriter(folder):
                online_probe = None
                if evaluate is not None:
                    online_probe = build_online_probe(evaluate, built, evaluable, audio, context)
                encoder_folder = train(folder, evaluable, audio, context, attempt, online_probe)
            trained = True
            context.stop.exit_if_received()  # a signal that came after the last step
        with HeartbeatWriter(folder):
            scored = score_run(encoder_folder, evaluable, built, audio, context)
    except SupersededError:
        raise
    except StoppedError as stopped:
        attempt.preempt(str(stopped))
        return RunReply(state="preempted", reason=str(stopped))
    except DamagedFileError as error:
        return _handle_damage(error, attempt)
    except Exception as error:  # parts outside ablate may raise anything
        machine = describe_machine_error(error, (folder, context.cache))
        if machine := machine or describe_lost_sound(error, config.settings):
            attempt.preempt(f"node: {machine}", trained=(folder / ENCODER_FILE).exists())
            return RunReply(state="preempted", reason=f"node: {machine}", machine_failed=True)
        reason = _format_reason(error)
        attempt.fail(
            reason,
            details=traceback.format_exc(),
            trained=(folder / ENCODER_FILE).exists(),
            collapsed=isinstance(error, CollapsedError),
        )
        if isinstance(error, torch.AcceleratorError):
            raise SystemExit(1) from error  # no later trial can use this process's device
        return RunReply(state="failed", reason=reason)
    except BaseException:  # a signal ends the process
        attempt.cancel("stopped before it was done", trained=(folder / ENCODER_FILE).exists())
        raise
    if encoder_folder != folder:
        reason = f"paused at step {context.until}"
        attempt.preempt(reason)
        return RunReply(state="paused", reason=reason)
    attempt.finish()
    return RunReply(state="done", trained=trained, probed=tuple(scored))


def _handle_damage(error: DamagedFileError, attempt: RunAttempt) -> RunReply:
    """Renames a damaged encoder, so that the next run trains it anew, and records the reason."""
    reason = f"error: {error}"
    if error.path.name == ENCODER_FILE:
        aside = error.path.with_suffix(".damaged")
        error.path.replace(aside)
        reason = f"error: {error.path} is damaged, renamed to {aside.name}; run again to train anew"
    attempt.preempt(reason)
    return RunReply(state="failed", reason=reason)


def run_helper_rank(folder: Path, context: RunContext) -> None:
    """Runs another rank's share of the training in a run folder; writes nothing.

    Call it between steps, because a signal has to wait for the first rank. With `context.until`,
    it trains to that step. Raises whatever its trial raises, and `StoppedError` if the ranks were
    told to stop.
    """
    evaluable, audio = _open(folder, RunConfig.read(folder / CONFIG_FILE), context.cache)
    if isinstance(evaluable, Trial) and not (folder / ENCODER_FILE).exists():
        with suppress(PausedError):
            train_helper_rank(folder, evaluable, audio, context)


def _open(folder: Path, config: RunConfig, cache: Path) -> tuple[Evaluable, AudioData]:
    """Builds a run from its settings and opens its audio.

    Raises `ValueError` if audio or code are not those that the folder is named after.
    """
    evaluable = build(config.settings, expect=KINDS[config.kind])
    audio = open_audio(evaluable.data, evaluable.mel, cache, check_files=False, probed=False)
    actual = compute_fingerprint(evaluable, audio.store.digest)
    if actual != folder.name:
        raise ValueError(
            f"`{folder.name}` was planned, but its config.json is now {actual}: "
            "the audio or a part's version has changed since; plan the study again"
        )
    return evaluable, audio


def _format_reason(error: Exception) -> str:
    """Formats in one line why a trial failed, beginning with the kind of failure."""
    kind = next((word for type_, word in FAILURES.items() if isinstance(error, type_)), "error")
    words = str(error).strip().splitlines() or [""]
    return (
        f"{kind}: {words[0]}" if kind != "error" else f"error: {type(error).__name__}: {words[0]}"
    )
