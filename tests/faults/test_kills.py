"""Tests that a study completes by itself after its processes are killed with SIGKILL.

One kill is part of the suite; `ABLATE_KILLS=40` tries as many at random moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.core.io import find_json

ROOT = Path(__file__).parents[2]
NUM_KILLS = int(os.environ.get("ABLATE_KILLS", "1"))
TARGETS = ("controller", "worker", "both")
WAIT_SECONDS = 300.0
STUDY = """\
study: kills
baseline:
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 2
    valid_per_class: 1
    test_per_class: 1
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random, ratio: 0.6}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 300, batch: 4}
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    more: {type: maskers.Random, ratio: 0.8}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""


def start(folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    (folder / "study.yaml").write_text(STUDY)
    names = {name.upper(): str(folder / name) for name in ("runs", "reports")}
    places = {f"ABLATE_{name}": path for name, path in names.items()}
    environ = {**os.environ, **places, "ABLATE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ablate.study", "study.yaml", "--workers", "1"]
    return subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def complete(folder: Path, cache: Path) -> int:
    return start(folder, cache).wait(WAIT_SECONDS)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_results(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("runs/*/encoder.safetensors"), *folder.glob("runs/*/probes/*/*.json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kill_while_training(folder: Path, cache: Path, target: str, delay: float) -> None:
    controller = start(folder, cache)
    deadline = time.monotonic() + WAIT_SECONDS
    while controller.poll() is None and time.monotonic() < deadline:
        records = [find_json(path) for path in folder.glob("runs/*/run.json")]
        if any(record and record["state"] == "running" for record in records):
            break
        time.sleep(0.02)
    time.sleep(delay)
    if controller.poll() is None:
        workers = list_children(controller.pid)
        pids = {"controller": [controller.pid], "worker": workers}
        for pid in pids.get(target, [controller.pid, *workers]):
            os.kill(pid, signal.SIGKILL)
    controller.wait(WAIT_SECONDS)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a study that was not killed, and the cache of clips."""
    folder, cache = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("cache")
    assert complete(folder, cache) == 0
    return folder, cache


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc")
@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_a_killed_study_completes_with_the_same_weights_and_scores(
    tmp_path: Path, uninterrupted: tuple[Path, Path], number: int
) -> None:
    folder, cache = uninterrupted
    delay = random.Random(number).uniform(0.0, 2.0) if number else 0.0
    kill_while_training(tmp_path, cache, TARGETS[number % len(TARGETS)], delay)
    assert complete(tmp_path, cache) == 0
    assert read_results(tmp_path) == read_results(folder)
