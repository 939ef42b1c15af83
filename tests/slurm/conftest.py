"""A real SLURM of two nodes, and trials that behave as they are told."""

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
from ablate.core.records.plan import PlanRequest
from ablate.core.records.run import RunConfig
from ablate.runs import store
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.runs.job import RunJob, RunOutcome
from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from ablate.slurm.executor import Cluster
from ablate.slurm.profile import check
from ablate.slurm.resources import Needs
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from ablate.worker.validation import validate

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "testcluster"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "my_print_defaults")
LONGEST = 240.0  # seconds that any one thing may take: a job to start, torch to be imported
ALL_SECONDS = 600.0  # that all jobs of a test may take together
TEST_SECONDS = 1800  # that a test may take, whatever it waits for
HERE = "127.0.0.1"
GUEST = Path(__file__).with_name("slurm_guest.py")
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


@dataclass(frozen=True)
class Site:
    """A test cluster that is up."""

    folder: Path

    def control(self, *words: str) -> None:
        """Switches a node or the controller."""
        call([str(SCRIPT), *words])


def call(command: Sequence[str], seconds: float = LONGEST) -> str:
    """Runs a command to its end, which comes in time or is a failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def wait_until(what: Callable[[], Any], seconds: float = LONGEST) -> Any:
    """Waits for something to be true and returns it; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return found


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """Fails a test that does not end by itself."""

    def fail(number: int, frame: object) -> None:
        pytest.fail(f"not over within {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def reserve() -> socket.socket:
    """Finds twenty ports that nobody has, and returns the last: who holds that has them all."""
    for turn in range(400):
        first = 17600 + 20 * ((os.getpid() + turn) % 400)
        with contextlib.suppress(OSError):
            for used in (0, 1, 2, 11, 12):
                socket.create_server((HERE, first + used)).close()
            return socket.create_server((HERE, first + 19))
    pytest.fail("no ports are free")


def start(**settings: str) -> Iterator[Site]:
    """Starts a cluster and stops it; skips, or fails where it is required, when it cannot."""
    required = "slurm" in os.environ.get("ABLATE_REQUIRE", "").replace(",", " ").split()
    if not required:
        pytest.skip("starts a real SLURM as root for several minutes: set ABLATE_REQUIRE=slurm")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if not required and (os.geteuid() or not sys.platform.startswith("linux") or missing):
        why = f"needs root on Debian or Ubuntu; lacks {', '.join(missing) or 'root'}"
        pytest.skip(f"{why}: `slurm/testcluster up` installs what is missing")
    folder = Path(tempfile.mkdtemp(prefix="ablate-slurm-"))
    names = {f"TESTCLUSTER_{key.upper()}": value for key, value in settings.items()}
    with reserve() as last, pytest.MonkeyPatch.context() as patch:
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
    yield from start()


@pytest.fixture(scope="module")
def plain_site() -> Iterator[Site]:
    """A cluster without sacct, whose arrays hold ten tasks, for the tests of a module."""
    yield from start(accounting="0", max_array="10")


@pytest.fixture(scope="module")
def strict_site() -> Iterator[Site]:
    """A cluster that lets nobody have more than four tasks in the queue."""
    yield from start(max_submit="4")


class Quiet:
    """Listens to nothing."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        pass

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        pass


def record(job: RunJob) -> dict[str, Any]:
    """Returns the content of a trial's `run.json`; {} if it is missing."""
    return find_json(job.folder / "run.json") or {}


def weights(job: RunJob) -> bytes:
    """Returns the encoder that a trial has trained."""
    return (job.folder / "encoder.safetensors").read_bytes()


def is_training(job: RunJob) -> bool:
    """Tells whether a trial has come so far that it saves itself when it is told to stop."""
    found = record(job)
    log = job.folder / "attempts" / f"{found.get('attempt', 0):03d}" / "log.txt"
    beat = job.folder / HEARTBEAT_FILE  # the first of an attempt comes after its log
    begun = log.exists() and beat.exists() and beat.stat().st_mtime_ns >= log.stat().st_mtime_ns
    return begun and found["state"] == "running"


def queued(job: RunJob, field: str) -> str:
    """Returns what the queue says of a job: %A its plain number, %N its node, %T its state."""
    given = slurm_queue.last(job.folder)
    assert given is not None
    return commands.call(["squeue", "-h", "-r", "-j", given.job, "-o", field]).strip()


def in_queue() -> list[str]:
    """Lists what the cluster has in its queue, or is still clearing away."""
    return commands.call(["squeue", "-h", "-r", "-o", "%i"]).split()


def empty_queue() -> None:
    """Takes out what earlier tests have left in the queue, and waits until it is gone."""
    commands.call(["scancel", "-u", "root"])
    wait_until(lambda: not in_queue())


class Workspace:
    """A working directory with trials in it, and a cluster to hand them to."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache

    def jobs(self, *kinds: str, runs: str = "runs", steps: int = 40) -> list[RunJob]:
        """Prepares the run folders of trials of these kinds; two of a kind differ in their seed."""
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
        """Returns the test cluster as its profile has it, less what a test changes.

        `levels` is what levels ask, as a study says it.
        """
        usual: dict[str, Any] = {
            "partition": "cpu", "minutes": 10, "memory": "1500M", "signal_seconds": 20,
            "canary": False, "poll_seconds": 0.2,
        }  # fmt: skip
        written = from_plain({**usual, **changes}, "test").children
        asked = {
            factor: node.children
            for factor, node in from_plain(levels or {}, "test").children.items()
        }
        needs = Needs(check("test", written), written, asked)
        return Cluster(needs, self.folder / "reports" / "slurm", self.cache, study="test")

    def hurry(self) -> None:
        """Lets slow trials go on; until then they train for ever."""
        (self.folder / "hurry").touch()

    def follow(
        self, cluster: Cluster, jobs: list[RunJob], waiting: Sequence[RunJob] = ()
    ) -> list[RunOutcome]:
        """Waits for all jobs to end, and fails when they do not in time."""
        outcomes = cluster.follow(jobs, Quiet(), waiting=waiting, seconds=ALL_SECONDS)
        assert len(outcomes) == len(jobs), [store.read_status(job.folder) for job in jobs]
        return sorted(outcomes, key=lambda outcome: jobs.index(outcome.job))

    def uninterrupted(self, job: RunJob) -> bytes:
        """Runs a trial here, without the cluster; returns its weights."""
        folder = self.cache.parent / "twins" / job.folder.name
        if not (folder / "encoder.safetensors").exists():
            config = RunConfig.read(job.folder / "config.json")
            store.write_config(folder, kind="jepa", settings=config.settings)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GUEST_SECONDS", "0")
                device = torch.device("cpu")
                ended = run(
                    folder, {}, RunContext(device, self.cache, lambda event: None, StopSignal())
                )
            assert ended.state == "done"
        return (folder / "encoder.safetensors").read_bytes()


def settings(kind: str, seed: int, steps: int) -> dict[str, Any]:
    """A trial of a second or two."""
    return {
        "data": {"type": "ablate.audio.synthetic.Synthetic", "clips_per_class": 4,
                 "valid_per_class": 1, "test_per_class": 2},
        "mel": {"type": "ablate.audio.mel.LogMel", "sample_rate": 16000, "bands": 64},
        "crop_frames": 128,
        "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
        "masker": {"type": "slurm_guest.Guest", "kind": kind},
        "encoder": {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2},
        "predictor": {"type": "ablate.model.predictor.Joint", "dim": 16, "layers": 1, "heads": 2},
        "objective": {"type": "ablate.model.objectives.SmoothL1", "beta": 1.0},
        "budget": {"steps": steps, "batch": 4},
        "optimizer": {"rate": 1e-3},
        "seed": seed,
    }  # fmt: skip


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded clips, which all trials share."""
    return tmp_path_factory.mktemp("sound") / "cache"


@contextlib.contextmanager
def open_workspace(folder: Path, sound: Path) -> Iterator[Workspace]:
    """Opens a workspace with an empty queue; cancels its jobs at the end."""
    empty_queue()
    shutil.copy(GUEST, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        patch.setenv("GUEST_SECONDS", str(ALL_SECONDS))
        sys.modules.pop("slurm_guest", None)
        yield Workspace(folder, sound)
        sys.modules.pop("slurm_guest", None)
        subprocess.run(["scancel", "-u", "root"], capture_output=True, timeout=LONGEST)


@pytest.fixture
def workspace(tmp_path: Path, sound: Path) -> Iterator[Workspace]:
    """A workspace for one test."""
    with open_workspace(tmp_path, sound) as found:
        yield found


@pytest.fixture(scope="module")
def shared_workspace(tmp_path_factory: pytest.TempPathFactory, sound: Path) -> Iterator[Workspace]:
    """A workspace shared by the tests of a module."""
    with open_workspace(tmp_path_factory.mktemp("workspace"), sound) as found:
        yield found
