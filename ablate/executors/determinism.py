"""Finds out whether this machine trains deterministically: 20 steps, twice, compared bit by bit."""

import tempfile
from pathlib import Path
from typing import Any

from ablate.core.records.messages import RunRequest
from ablate.core.records.planning import PlanRequest
from ablate.core.records.run import ENCODER_FILE
from ablate.executors import short_trials
from ablate.executors.worker import InvalidRequestError, Worker

NUM_STEPS = 20
TRIAL: dict[str, Any] = {
    "data": {
        "type": "ablate.audio.synthetic.Synthetic",
        "clips_per_class": 2,
        "valid_per_class": 1,
        "test_per_class": 1,
    },
    "mel": {"type": "ablate.audio.mel.LogMel"},
    "crop_frames": 128,
    "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
    "masker": {"type": "maskers.Random", "ratio": 0.6},
    "encoder": {"type": "ablate.model.vit.ViT", "dim": 64, "layers": 2, "heads": 4},
    "predictor": {"type": "ablate.model.predictor.Joint", "dim": 32, "layers": 1, "heads": 4},
    "objective": {"type": "ablate.model.objectives.SmoothL1"},
    "budget": {"steps": NUM_STEPS, "batch": 8},
    "seed": 0,
}


def describe_determinism(worker: Worker, cache: Path, device: str) -> str:
    """Trains a small trial twice with a worker; says whether the weights are equal.

    Args:
        worker: its cache of clips is `cache`.
        cache: a folder in which everything may be deleted.
        device: a device of torch, such as `cpu` or `cuda:0`.
    """
    try:
        [trial] = short_trials.resolve(worker.plan, PlanRequest(trials=(TRIAL,)))
    except InvalidRequestError as error:
        return f"error: a small trial cannot be planned: {error}"
    encoders = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(dir=cache) as parent:
            folder = short_trials.create_run_folder(Path(parent), trial)
            reply = worker.request(RunRequest(folder=folder, probes={}, device=device))
            if reply.state != "done":
                return f"error: a small trial on {device} ended as {reply.state}: {reply.reason}"
            encoders.append((folder / ENCODER_FILE).read_bytes())
    if encoders[0] == encoders[1]:
        return f"training on {device} is deterministic: {NUM_STEPS} steps twice, equal weights"
    return (
        f"training on {device} is not deterministic: {NUM_STEPS} steps twice gave different "
        "weights, so a repeated or resumed run may differ a little"
    )
