"""Tests that trials and studies complete by themselves after their processes are killed.

One killed controller is part of the suite; `ABLATE_KILLS=40` also kills whole studies, as often and
at random moments of their lives.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ablate.executors.local import Pool
from ablate.runs.job import ProgressListener, RunJob, RunOutcome
from ablate.runs.record import read_record
from tests.worker.runs import create_run_folder, create_settings, plan_trial

ROOT = Path(__file__).parents[2]
NUM_KILLS = int(os.environ.get("ABLATE_KILLS", "0"))
TARGETS = ("controller", "worker", "both")
WAIT_SECONDS = 1800.0  # on a busy machine
PARTS: dict[str, Any] = {
    **create_settings(),
    "masker": {"type": "maskers.Random", "ratio": 0.6},
    "budget": {"steps": 100, "batch": 4},
}
del PARTS["seed"]  # the study has its own
STUDY = {
    "study": "kills",
    "baseline": PARTS,
    "factors": {
        "masker": {"more": {"type": "maskers.Random", "ratio": 0.8}, "base": PARTS["masker"]}
    },
    "seeds": 1,
    "probes": {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}},
    "score": "knn.mean",
}
CONTROLLER = """\
import os, signal, sys
from pathlib import Path
from ablate.executors.local import Pool
from ablate.runs.job import RunJob

class Killer:
    def on_progress(self, worker, job, progress):
        os.kill(os.getpid(), signal.SIGKILL)
    def on_finished(self, worker, outcome):
        sys.exit("the trial ended before it was seen to train")

with Pool(Path(sys.argv[1]), size=1) as pool:
    pool.run([RunJob(Path(sys.argv[2]), "killed", {})], Killer())
"""


class Listener(ProgressListener):
    """Ignores what it is notified of."""

    def on_progress(self, worker: int, job: RunJob, progress: object) -> None:
        pass

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        pass


def test_a_trial_whose_controller_was_killed_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    trial = plan_trial({**PARTS, "seed": 0}, cache)
    killed, fresh = (create_run_folder(tmp_path / name, trial) for name in ("killed", "fresh"))
    command = [sys.executable, "-c", CONTROLLER, str(cache), str(killed)]
    controller = subprocess.run(command, cwd=ROOT, timeout=WAIT_SECONDS, check=False)
    assert controller.returncode == -signal.SIGKILL
    with Pool(cache, size=1) as pool:
        ends = pool.run([RunJob(folder, folder.name, {}) for folder in (killed, fresh)], Listener())
    assert [end.state for end in ends] == ["done", "done"]
    assert read_record(killed).attempt == 2
    encoders = [(folder / "encoder.safetensors").read_bytes() for folder in (killed, fresh)]
    assert encoders[0] == encoders[1]


def start(folder: Path, cache: Path, *prefix: str) -> subprocess.Popen[bytes]:
    """Starts the study; `prefix` is a command that runs another one."""
    (folder / "study.yaml").write_text(json.dumps(STUDY))  # which is YAML, too
    names = {name.upper(): str(folder / name) for name in ("runs", "reports")}
    places = {f"ABLATE_{name}": path for name, path in names.items()}
    environ = {**os.environ, **places, "ABLATE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [*prefix, sys.executable, "-m", "ablate.study", "study.yaml", "--workers", "2"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)


def complete(folder: Path, cache: Path) -> int:
    return start(folder, cache).wait(WAIT_SECONDS)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_results(folder: Path) -> dict[str, bytes]:
    """Reads what must not depend on kills: weights, scores, and the table of the report."""
    patterns = ("runs/*/encoder.safetensors", "runs/*/probes/*/*.json", "reports/*/scores.csv")
    files = [path for pattern in patterns for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def kill_once(folder: Path, cache: Path, target: str, seconds: float) -> None:
    """Starts a study and kills it after a time; again and earlier if it had ended by then."""
    while True:
        controller = start(folder, cache)
        deadline = time.monotonic() + seconds
        while controller.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        workers = list_children(controller.pid) if controller.poll() is None else []
        pids = {"controller": [controller.pid], "worker": workers}
        victims = pids.get(target, [controller.pid, *workers])
        if controller.poll() is None and victims:
            break
        controller.wait(WAIT_SECONDS)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        seconds *= 0.7
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    controller.wait(WAIT_SECONDS)
    with (folder / "log").open("a") as log:
        log.write(f"killed {target} after {seconds:.1f} s\n")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """The folder of a study that was not killed, the cache of clips, and the seconds it took."""
    folder, cache = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("cache")
    started = time.monotonic()
    assert complete(folder, cache) == 0
    return folder, cache, time.monotonic() - started


@pytest.mark.skipif(not NUM_KILLS, reason="kills whole studies; asked for with ABLATE_KILLS=40")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc")
@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_a_killed_study_completes_with_the_same_weights_and_scores(
    tmp_path: Path, uninterrupted: tuple[Path, Path, float], number: int
) -> None:
    folder, cache, duration = uninterrupted
    moment = duration * random.Random(number).uniform(0.05, 0.95)
    kill_once(tmp_path, cache, TARGETS[number % len(TARGETS)], moment)
    assert complete(tmp_path, cache) == 0, (tmp_path / "log").read_text()
    assert read_results(tmp_path) == read_results(folder)
    attempts = [len(list(path.glob("attempts/*"))) for path in tmp_path.glob("runs/*/")]
    assert max(attempts) <= 2, "one kill made a run start more than twice"
