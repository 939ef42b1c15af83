"""Fixtures with a real SLURM cluster of two nodes, and trials whose behaviour a test scripts."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.config.tree import from_plain
from ablate.core.io import find_json
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.planning import PlanRequest
from ablate.core.records.run import RunConfig
from ablate.runs import store
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.runs.job import RunJob, RunOutcome
from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from ablate.slurm.executor import Cluster
from ablate.slurm.profile import build_profile
from ablate.slurm.resources import Resources
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from ablate.worker.validation import validate

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "testcluster"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "my_print_defaults")
WAIT_SECONDS = 240.0  # longest wait for one event, such as the start of a job
ALL_SECONDS = 600.0  # longest wait for all jobs of a test
TEST_SECONDS = 1800  # time limit of a test
LOCALHOST = "127.0.0.1"
MASKER_FILE = Path(__file__).with_name("scripted_masker.py")
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


@dataclass(frozen=True)
class Site:
    """A running test cluster."""

    folder: Path

    def control(self, *arguments: str) -> None:
        """Switches a node or the controller on or off."""
        call([str(SCRIPT), *arguments])


def call(command: Sequence[str], seconds: float = WAIT_SECONDS) -> str:
    """Runs a command and returns its output; fails if it fails or takes longer than `seconds`."""
    process = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert process.returncode == 0, f"{command}: {process.stderr or process.stdout}"
    return process.stdout


def wait_until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Waits until `condition` returns something true, and returns that; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return result


@pytest.fixture(autouse=True)
def _limit_time() -> Iterator[None]:
    """Fails a test that takes longer than `TEST_SECONDS`."""

    def fail(number: int, frame: object) -> None:
        pytest.fail(f"not finished within {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def reserve_ports() -> socket.socket:
    """Finds twenty free ports; returns a socket on the last one, which reserves them all."""
    for attempt in range(400):
        first = 17600 + 20 * ((os.getpid() + attempt) % 400)
        with contextlib.suppress(OSError):
            for offset in (0, 1, 2, 11, 12):
                socket.create_server((LOCALHOST, first + offset)).close()
            return socket.create_server((LOCALHOST, first + 19))
    pytest.fail("no ports are free")


def start_cluster(**settings: str) -> Iterator[Site]:
    """Starts a cluster and stops it; skips if it cannot, or fails if ABLATE_REQUIRE names it."""
    required = "slurm" in os.environ.get("ABLATE_REQUIRE", "").replace(",", " ").split()
    if not required:
        pytest.skip("starts a real SLURM as root for several minutes: set ABLATE_REQUIRE=slurm")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if not required and (os.geteuid() or not sys.platform.startswith("linux") or missing):
        reason = f"needs root on Debian or Ubuntu; lacks {', '.join(missing) or 'root'}"
        pytest.skip(f"{reason}: `slurm/testcluster up` installs what is missing")
    folder = Path(tempfile.mkdtemp(prefix="ablate-slurm-"))
    names = {f"TESTCLUSTER_{key.upper()}": value for key, value in settings.items()}
    with reserve_ports() as last, pytest.MonkeyPatch.context() as patch:
        port = str(last.getsockname()[1] - 19)
        environment = {"TESTCLUSTER_ROOT": str(folder), "TESTCLUSTER_PORT": port, **names}
        for name, value in {**environment, "SLURM_CONF": str(folder / "slurm.conf")}.items():
            patch.setenv(name, value)
        try:
            call([str(SCRIPT), "up"], 400)
            yield Site(folder)
        finally:
            call([str(SCRIPT), "down"])


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A cluster with accounting."""
    yield from start_cluster()


@pytest.fixture(scope="module")
def plain_site() -> Iterator[Site]:
    """A cluster without sacct whose arrays hold at most ten tasks."""
    yield from start_cluster(accounting="0", max_array="10")


@pytest.fixture(scope="module")
def strict_site() -> Iterator[Site]:
    """A cluster that allows each user four tasks in the queue."""
    yield from start_cluster(max_submit="4")


class SilentListener:
    """Ignores all progress."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        pass

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        pass


def record(job: RunJob) -> dict[str, Any]:
    """Returns the content of a trial's `run.json`; {} if it is missing."""
    return find_json(job.folder / "run.json") or {}


def weights(job: RunJob) -> bytes:
    """Returns the encoder file of a trained trial."""
    return (job.folder / "encoder.safetensors").read_bytes()


def is_training(job: RunJob) -> bool:
    """Returns whether a trial has started training, so that it saves a checkpoint on a signal."""
    content = record(job)
    log = job.folder / "attempts" / f"{content.get('attempt', 0):03d}" / "log.txt"
    beat = job.folder / HEARTBEAT_FILE  # the first heartbeat of an attempt follows its log
    started = log.exists() and beat.exists() and beat.stat().st_mtime_ns >= log.stat().st_mtime_ns
    return started and content["state"] == "running"


def query_job(job: RunJob, field: str) -> str:
    """Returns a field of squeue for a job: %A its plain number, %N its node, %T its state."""
    submitted = slurm_queue.find_last_job(job.folder)
    assert submitted is not None
    command = ["squeue", "-h", "-r", "-j", submitted.job_id, "-o", field]
    return commands.run_command(command).strip()


def list_queue() -> list[str]:
    """Lists the job ids in the cluster's queue."""
    return commands.run_command(["squeue", "-h", "-r", "-o", "%i"]).split()


def empty_queue() -> None:
    """Cancels all jobs of earlier tests and waits until the queue is empty."""
    commands.run_command(["scancel", "-u", "root"])
    wait_until(lambda: not list_queue())


class Workspace:
    """A working directory with trials, and a cluster that runs them."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache

    def jobs(self, *kinds: str, runs: str = "runs", steps: int = 40) -> list[RunJob]:
        """Creates the run folders of trials of these kinds; two of a kind differ in their seed."""
        seeds = [kinds[:place].count(kind) for place, kind in enumerate(kinds)]
        wanted = [settings(*pair, steps) for pair in zip(kinds, seeds, strict=True)]
        request = PlanRequest(trials=tuple(wanted), probes=PROBES)
        reply = validate(request, self.cache, lambda event: None)
        jobs = []
        for kind, trial in zip(kinds, reply.get_resolved(), strict=True):
            folder = self.folder / runs / trial.fingerprint
            store.write_config(folder, kind="jepa", settings=trial.settings)
            jobs.append(RunJob(folder, kind, reply.probes))
        return jobs

    def cluster(self, levels: Any = None, **changes: Any) -> Cluster:
        """Creates a cluster with the test profile and some changes.

        `levels` are the settings of levels, as in a study's `slurm.levels`.
        """
        defaults: dict[str, Any] = {
            "partition": "cpu", "minutes": 10, "memory": "1500M", "signal_seconds": 20,
            "canary": False, "poll_seconds": 0.2,
        }  # fmt: skip
        nodes = from_plain({**defaults, **changes}, "test").children
        by_factor = {
            factor: node.children
            for factor, node in from_plain(levels or {}, "test").children.items()
        }
        resources = Resources(build_profile("test", nodes), nodes, by_factor)
        return Cluster(resources, self.folder / "reports" / "slurm", self.cache, study="test")

    def hurry(self) -> None:
        """Lets slow trials continue; until then they do not end."""
        (self.folder / "hurry").touch()

    def follow(
        self, cluster: Cluster, jobs: list[RunJob], waiting: Sequence[RunJob] = ()
    ) -> list[RunOutcome]:
        """Waits until all jobs have ended; fails if they take too long."""
        outcomes = cluster.follow(jobs, SilentListener(), waiting=waiting, seconds=ALL_SECONDS)
        assert len(outcomes) == len(jobs), [store.read_status(job.folder) for job in jobs]
        return sorted(outcomes, key=lambda outcome: jobs.index(outcome.job))

    def train_locally(self, job: RunJob) -> bytes:
        """Trains a trial without the cluster and without interruption; returns its weights."""
        folder = self.cache.parent / "local" / job.folder.name
        if not (folder / "encoder.safetensors").exists():
            config = RunConfig.read(job.folder / "config.json")
            store.write_config(folder, kind="jepa", settings=config.settings)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SCRIPTED_SECONDS", "0")
                device = torch.device("cpu")
                outcome = run(
                    folder, {}, RunContext(device, self.cache, lambda event: None, StopSignal())
                )
            assert outcome.state == "done"
        return (folder / "encoder.safetensors").read_bytes()


def settings(kind: str, seed: int, steps: int) -> dict[str, Any]:
    """Returns the settings of a trial that takes a second or two."""
    return {
        "data": {"type": "ablate.audio.synthetic.Synthetic", "clips_per_class": 4,
                 "valid_per_class": 1, "test_per_class": 2},
        "mel": {"type": "ablate.audio.mel.LogMel", "sample_rate": 16000, "bands": 64},
        "crop_frames": 128,
        "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
        "masker": {"type": "scripted_masker.Scripted", "kind": kind},
        "encoder": {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2},
        "predictor": {"type": "ablate.model.predictor.Joint", "dim": 16, "layers": 1, "heads": 2},
        "objective": {"type": "ablate.model.objectives.SmoothL1", "beta": 1.0},
        "budget": {"steps": steps, "batch": 4},
        "optimizer": {"rate": 1e-3},
        "seed": seed,
    }  # fmt: skip


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of decoded clips, which all trials share."""
    return tmp_path_factory.mktemp("sound") / "cache"


@contextlib.contextmanager
def open_workspace(folder: Path, sound: Path) -> Iterator[Workspace]:
    """Opens a workspace with an empty queue; cancels its jobs at the end."""
    empty_queue()
    shutil.copy(MASKER_FILE, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        patch.setenv("SCRIPTED_SECONDS", str(ALL_SECONDS))
        sys.modules.pop("scripted_masker", None)
        yield Workspace(folder, sound)
        sys.modules.pop("scripted_masker", None)
        subprocess.run(["scancel", "-u", "root"], capture_output=True, timeout=WAIT_SECONDS)


@pytest.fixture
def workspace(tmp_path: Path, sound: Path) -> Iterator[Workspace]:
    """A workspace for one test."""
    with open_workspace(tmp_path, sound) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory, sound: Path) -> Iterator[Workspace]:
    """A workspace shared by the tests of a module."""
    with open_workspace(tmp_path_factory.mktemp("workspace"), sound) as opened:
        yield opened
