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
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ablate.core.io import find_json
from ablate.executors.local import Pool
from ablate.runs.job import ProgressListener, RunJob, RunOutcome
from ablate.runs.record import read_record
from tests.worker.runs import create_run_folder, create_settings, plan_trial

ROOT = Path(__file__).parents[2]
NUM_KILLS = int(os.environ.get("ABLATE_KILLS", "0"))
NUM_RUNS = 4  # two trials, their random init, the log-mel statistics
LOCKS = (".lock",)
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
LONG = {"budget.steps": 500}  # so that kills meet trials that train, with checkpoints
FREQUENT_CHECKPOINTS = """\
import sys
if "ablate.worker" in sys.orig_argv:
    from ablate.training.checkpoint import Checkpoints
    Checkpoints.__init__.__kwdefaults__["min_seconds"] = 0.2
"""  # sitecustomize.py, which Python runs when a worker starts
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


def start(
    folder: Path, cache: Path, *prefix: str, overrides: Mapping[str, object] = MappingProxyType({})
) -> subprocess.Popen[bytes]:
    """Starts the study; `prefix` is a command that runs another one."""
    (folder / "study.yaml").write_text(json.dumps(STUDY))  # which is YAML, too
    (folder / "python").mkdir(exist_ok=True)
    (folder / "python/sitecustomize.py").write_text(FREQUENT_CHECKPOINTS)
    names = {name.upper(): str(folder / name) for name in ("runs", "reports")}
    places = {f"ABLATE_{name}": path for name, path in names.items()}
    environ = {**os.environ, **places, "ABLATE_CACHE": str(cache)}
    environ["PYTHONPATH"] = f"{folder}/python:{ROOT}"
    settings = [f"{key}={value}" for key, value in overrides.items()]
    command = [*prefix, sys.executable, "-m", "ablate.study", "study.yaml", *settings]
    command += ["--workers", "2"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)


def complete(
    folder: Path, cache: Path, overrides: Mapping[str, object] = MappingProxyType({})
) -> int:
    return start(folder, cache, overrides=overrides).wait(WAIT_SECONDS)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_results(folder: Path) -> dict[str, bytes]:
    """Reads what must not depend on kills: weights, scores, and the table of the report."""
    patterns = ("runs/*/encoder.safetensors", "runs/*/probes/*/*.json", "reports/*/scores.csv")
    files = [path for pattern in patterns for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def find_phase(folder: Path) -> str:
    """Returns what the study was doing when it was killed."""
    states = [(find_json(path) or {})["state"] for path in folder.glob("runs/*/run.json")]
    if not states:
        return "planning"
    if any(folder.glob("runs/*/checkpoints/*.pt")):
        return "training with a checkpoint"
    if "running" in states:
        trained = len(list(folder.glob("runs/*/training.json")))
        return "scoring" if trained == len(states) else "training"
    return "reporting" if set(states) == {"done"} and len(states) == NUM_RUNS else "between runs"


def count_cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process and its children, also of those that have ended."""
    total = 0
    for each in (pid, *list_children(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def kill_once(folder: Path, cache: Path, target: str, cpu_seconds: float) -> str:
    """Starts a study and kills it after a CPU time; again and earlier if it had ended by then.

    The CPU time says how far a study is, however busy the machine. Waits for a worker, if one is
    to be killed. Returns what the study was doing.
    """
    while True:
        controller, victims = start(folder, cache, overrides=LONG), list[int]()
        while controller.poll() is None and not victims:
            time.sleep(0.02)
            if count_cpu_seconds(controller.pid) >= cpu_seconds:
                workers = list_children(controller.pid)
                pids = {"controller": [controller.pid], "worker": workers}
                victims = pids.get(target, [controller.pid, *workers])
        if victims:
            break
        shutil.rmtree(folder / "runs", ignore_errors=True)
        cpu_seconds *= 0.7
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    phase = find_phase(folder)
    controller.wait(WAIT_SECONDS)
    with (folder / "log").open("a") as log:
        log.write(f"killed {target} after {cpu_seconds:.1f} s of CPU time\n")
    return phase


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of a study that was not killed, and its CPU time in seconds."""
    folder, before = tmp_path_factory.mktemp("study"), os.times()
    assert complete(folder, folder / "cache", LONG) == 0
    now = os.times()
    seconds = now.children_user + now.children_system
    return folder, seconds - before.children_user - before.children_system


@pytest.mark.skipif(not NUM_KILLS, reason="kills whole studies; asked for with ABLATE_KILLS=40")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds workers in /proc")
@pytest.mark.parametrize("number", range(NUM_KILLS))
def test_a_killed_study_completes_with_the_same_weights_and_scores(
    tmp_path: Path,
    uninterrupted: tuple[Path, float],
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    folder, duration = uninterrupted
    moment = duration * random.Random(number).uniform(0.05, 0.95)
    target = TARGETS[number % len(TARGETS)]
    phase = kill_once(tmp_path, tmp_path / "cache", target, moment)
    record_property("killed", f"{target} while {phase}")
    assert complete(tmp_path, tmp_path / "cache", LONG) == 0, (tmp_path / "log").read_text()
    assert read_results(tmp_path) == read_results(folder)
    attempts = [len(list(path.glob("attempts/*"))) for path in tmp_path.glob("runs/*/")]
    assert max(attempts) <= 2, "one kill made a run start more than twice"
    assert [path for path in tmp_path.rglob(".*") if path.name not in LOCKS] == []
