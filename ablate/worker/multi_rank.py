"""A run folder that several processes of this machine train together, for a worker that relays."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.core.io import write_json
from ablate.core.records.run import RunConfig
from ablate.runs.store import CONFIG_FILE
from ablate.training.distributed import build_torchrun_command
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit
from ablate.worker.evaluate import ENCODER
from ablate.worker.trial import KINDS, Trial


def needs_ranks(request: Mapping[str, Any]) -> bool:
    """Whether a run asks for several ranks, and has something for them to train."""
    if request.get("ranks", 1) == 1:
        return False
    folder = Path(request["folder"])
    kind = KINDS[RunConfig.read(folder / CONFIG_FILE).kind]
    return kind is Trial and not (folder / ENCODER).exists()


def run_with_ranks(request: Mapping[str, Any], emit: Emit, stop: StopSignal) -> dict[str, Any]:
    """Has ranks run a folder, each with a GPU of its own, and passes on what they say.

    They are told to stop by the signal that this process, and all of its group, is sent; where
    it is killed, their standard input ends, and they do. Ends this process where they end without a
    word: whoever asked goes on from their checkpoint.
    """
    ended = None
    with tempfile.TemporaryDirectory(prefix="ablate-ranks-") as place, stop.deferred():
        probes = Path(place) / "probes.json"
        write_json(probes, request["probes"])
        with subprocess.Popen(
            _command(request, probes),
            stdin=subprocess.PIPE,  # nothing is ever written to it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **_visible(request)},
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                found = _said(line)
                if "event" in found:
                    emit(found)
                elif "state" in found:
                    ended = found
                else:
                    sys.stderr.write(line)
    if ended is None:
        raise SystemExit(process.returncode or 1)
    return ended


def _command(request: Mapping[str, Any], probes: Path) -> list[str]:
    device = "cuda" if request["device"].startswith("cuda") else request["device"]
    arguments = [request["folder"], "--device", device, "--cache", request["cache"]]
    arguments += ["--held", "--leashed"]
    arguments += ["--probes", str(probes), "--evaluate", json.dumps(request.get("evaluate"))]
    if request.get("until"):
        arguments += ["--until", str(request["until"])]
    return build_torchrun_command(request["ranks"], "ablate.worker", arguments)


def _visible(request: Mapping[str, Any]) -> dict[str, str]:
    """Shows the ranks their GPUs alone: as many as they are, from the one of the request on."""
    kind, _, number = request["device"].partition(":")
    if kind != "cuda":
        return {}
    first, last = int(number or 0), int(number or 0) + request["ranks"]
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = known.split(",") if known else [str(index) for index in range(last)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names[first:last])}


def _said(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
