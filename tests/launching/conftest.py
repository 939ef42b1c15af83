"""A real SLURM of two nodes, and trials that behave as they are told."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.files import find_json
from ablate.launching import ledger, queueing
from ablate.launching.needs import Needs
from ablate.launching.pool import Job, Outcome
from ablate.launching.profile import check
from ablate.launching.slurm import Cluster
from ablate.launching.worker import Event
from ablate.text import from_plain
from ablate.training.stopping import Stop
from ablate.workshop.planning import plan
from ablate.workshop.running import run
from ablate.workshop.session import Session

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "testcluster"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "slurmdbd", "mariadbd", "my_print_defaults")
LONGEST = 240.0  # seconds that any one thing may take
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}
GUEST = '''\
"""A stranger's masker that takes its time, raises, exits, or eats memory, while training."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from ablate.model.masking import AbstractMasker
from maskers import Random


@dataclass(frozen=True, kw_only=True)
class Guest(AbstractMasker):
    kind: str = "good"
    promises = Random().promises

    def __call__(self, grid, batch, *, progress=0.0, **given):
        if batch == 4 and progress > 0.02:
            if self.kind == "slow":
                time.sleep(float(os.environ.get("GUEST_SECONDS", "0")))
            if self.kind == "stuck" and not Path("was_stuck").exists():
                Path("was_stuck").touch()
                time.sleep(600)
            if self.kind == "raises":
                raise RuntimeError("a step too far")
            if self.kind == "exits":
                os._exit(3)
            if self.kind == "eats":
                eaten = [b"x" * 100_000_000 for _ in range(20)]
                time.sleep(30)
                assert eaten
        return Random()(grid, batch, progress=progress, **given)
'''


@dataclass(frozen=True)
class Site:
    """A test cluster that is up."""

    folder: Path

    def control(self, *words: str) -> None:
        """Switches a node or the controller."""
        call([str(SCRIPT), *words])


def call(command: Sequence[str], seconds: float = 60) -> str:
    """Runs a command to its end, which comes in time or is a failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def wait_until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits for something to be true and returns it; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return found


def start(port: int, **settings: str) -> Iterator[Site]:
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
    environment = {"TESTCLUSTER_ROOT": str(folder), "TESTCLUSTER_PORT": str(port), **names}
    with pytest.MonkeyPatch.context() as patch:
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
    yield from start(17600 + 40 * (os.getpid() % 200))


@pytest.fixture(scope="module")
def plain_site() -> Iterator[Site]:
    """A cluster without sacct, whose arrays hold ten tasks, for the tests of a module."""
    port = 17620 + 40 * (os.getpid() % 200)
    yield from start(port, accounting="0", max_array="10")


@pytest.fixture(scope="module")
def strict_site() -> Iterator[Site]:
    """A cluster that lets nobody have more than four tasks in the queue."""
    yield from start(17620 + 40 * (os.getpid() % 200), max_submit="4")


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.ended: list[Outcome] = []

    def progress(self, worker: int, job: Job, event: Event) -> None:
        self.labels.append(event["label"])

    def finished(self, worker: int, outcome: Outcome) -> None:
        self.ended.append(outcome)


class Desk:
    """A working directory with trials in it, and a cluster to hand them to."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache

    def jobs(self, *kinds: str, runs: str = "runs", steps: int = 40) -> list[Job]:
        """Prepares the run folders of trials of these kinds; two of a kind differ in their seed."""
        seeds = [kinds[:place].count(kind) for place, kind in enumerate(kinds)]
        wanted = [settings(*pair, steps) for pair in zip(kinds, seeds, strict=True)]
        answer = plan(wanted, PROBES, self.cache, lambda event: None)
        found = []
        for kind, entry in zip(kinds, answer["trials"], strict=True):
            assert entry["problems"] == []
            folder = self.folder / runs / entry["fingerprint"]
            ledger.prepare(folder, kind="jepa", settings=entry["settings"])
            found.append(Job(folder, kind, answer["probes"]))
        return found

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

    def follow(self, cluster: Cluster, jobs: list[Job]) -> list[Outcome]:
        """Waits for all jobs to end, and fails when they do not in time."""
        outcomes = cluster.follow(jobs, Listener(), seconds=LONGEST)
        assert len(outcomes) == len(jobs), [ledger.entry(job.folder) for job in jobs]
        return sorted(outcomes, key=lambda outcome: jobs.index(outcome.job))

    def uninterrupted(self, job: Job) -> bytes:
        """Runs a trial here, without the cluster; returns its weights."""
        folder = self.cache.parent / "twins" / job.folder.name
        if not (folder / "encoder.safetensors").exists():
            config = find_json(job.folder / "config.json") or {}
            ledger.prepare(folder, kind="jepa", settings=config["settings"])
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GUEST_SECONDS", "0")
                device = torch.device("cpu")
                ended = run(folder, {}, Session(device, self.cache, lambda event: None, Stop()))
            assert ended["state"] == "done"
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


@contextmanager
def at_desk(folder: Path, sound: Path) -> Iterator[Desk]:
    """Sits down at a desk; what its jobs have left in the queue is taken out at the end."""
    (folder / "slurm_guest.py").write_text(GUEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        patch.setenv("GUEST_SECONDS", "0.2")
        sys.modules.pop("slurm_guest", None)
        yield Desk(folder, sound)
        sys.modules.pop("slurm_guest", None)
        given = {found.number for p in folder.glob("runs/*") if (found := queueing.last(p))}
        if given:
            subprocess.run(["scancel", *given], capture_output=True, timeout=60)


@pytest.fixture
def desk(tmp_path: Path, sound: Path) -> Iterator[Desk]:
    """A desk for one test."""
    with at_desk(tmp_path, sound) as found:
        yield found


@pytest.fixture(scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory, sound: Path) -> Iterator[Desk]:
    """A desk for several tests."""
    with at_desk(tmp_path_factory.mktemp("desk"), sound) as found:
        yield found


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Lends the tests a wait that ends."""
    return wait_until
