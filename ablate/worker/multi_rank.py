"""Trains a run folder with several processes of this machine, on behalf of a worker."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ablate.core.io import write_json
from ablate.core.records.messages import ProgressMessage, RunReply, RunRequest
from ablate.core.records.protocol import Message, parse_message
from ablate.core.records.record import FormatError
from ablate.core.records.run import CONFIG_FILE, ENCODER_FILE, RunConfig
from ablate.training.distributed import build_torchrun_command
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit
from ablate.worker.trial import KINDS, Trial


def needs_ranks(request: RunRequest) -> bool:
    """Returns whether a run has several ranks and something for them to train."""
    if request.ranks == 1:
        return False
    kind = KINDS[RunConfig.read(request.folder / CONFIG_FILE).kind]
    return kind is Trial and not (request.folder / ENCODER_FILE).exists()


def run_with_ranks(request: RunRequest, cache: Path, emit: Emit, stop: StopSignal) -> RunReply:
    """Runs a folder with ranks, each on a GPU of its own, and passes on their progress.

    A signal to stop reaches the ranks too, because it is sent to the whole process group. If this
    process is killed, their standard input ends and they end. If they end without a reply, this
    process ends, and its client resumes the run from their checkpoint.
    """
    reply = None
    with tempfile.TemporaryDirectory(prefix="ablate-ranks-") as folder, stop.deferred():
        probes = Path(folder) / "probes.json"
        write_json(probes, request.probes)
        with subprocess.Popen(
            _build_command(request, cache, probes),
            stdin=subprocess.PIPE,  # nothing is ever written to it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **_select_gpus(request)},
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                message = _find_message(line)
                if isinstance(message, ProgressMessage):
                    emit(message)
                elif isinstance(message, RunReply):
                    reply = message
                else:
                    sys.stderr.write(line)
    if reply is None:
        raise SystemExit(process.returncode or 1)
    return reply


def _build_command(request: RunRequest, cache: Path, probes: Path) -> list[str]:
    device = "cuda" if request.device.startswith("cuda") else request.device
    arguments = [str(request.folder), "--device", device, "--cache", str(cache)]
    arguments += ["--locked", "--end-with-stdin"]
    arguments += ["--probes", str(probes), "--evaluate", json.dumps(request.evaluate)]
    if request.until:
        arguments += ["--until", str(request.until)]
    return build_torchrun_command(request.ranks, "ablate.worker", arguments)


def _select_gpus(request: RunRequest) -> dict[str, str]:
    """Returns the environment in which the ranks see only their GPUs, from the request's on."""
    kind, _, number = request.device.partition(":")
    if kind != "cuda":
        return {}
    first, last = int(number or 0), int(number or 0) + request.ranks
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(last)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[first:last])}


def _find_message(line: str) -> Message | None:
    try:
        return parse_message(line, (ProgressMessage, RunReply))
    except FormatError:
        return None
