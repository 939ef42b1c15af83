"""Runs are handed in once, and taken back whole, on a site of a few scripts."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.slurm import queue as slurm_queue
from ablate.slurm import sweep_workers
from ablate.slurm.commands import RefusedError
from ablate.slurm.executor import Cluster
from ablate.slurm.profile import Profile
from ablate.slurm.queue import Submitted
from ablate.slurm.resources import Needs
from tests.slurm.scripted_site import lay

SBATCH = """\
[ "$1" = --test-only ] && exit 0
sleep 0.5 # as long as another launcher may take to look at the queue
number=$$
name=$(sed -n 's/^#SBATCH --job-name=//p' "$2")
echo "${number}_0|$name|PENDING|None" >> QUEUE
echo $number
"""
FULL = """\
[ "$1" = --test-only ] && exit 0
[ -e QUEUE.2 ] && echo "the site is closed" >&2 && exit 1
[ -e QUEUE.1 ] && touch QUEUE.2 && echo 102 && exit 0
touch QUEUE.1 && echo 101
"""
PROFILE = Profile(name="site", max_array=1, canary=False)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a site of commands, each a shell script; returns the file of its queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    queue = tmp_path / "queue"
    queue.touch()

    def make(**commands: str) -> Path:
        scripts = {"squeue": "cat QUEUE", **commands}
        lay(tmp_path, {name: of.replace("QUEUE", str(queue)) for name, of in scripts.items()})
        return queue

    return make


def cluster(tmp_path: Path) -> Cluster:
    needs = Needs(PROFILE, {}, {})
    return Cluster(needs, tmp_path / "slurm", tmp_path / "cache", study="study")


def jobs(tmp_path: Path, *names: str) -> list[RunJob]:
    found = [RunJob(tmp_path / "runs" / name, name, {}) for name in names]
    for job in found:
        store.write_config(job.folder, kind="jepa", settings={"seed": 0})
    return found


def test_launchers_that_both_see_an_empty_queue_hand_a_run_in_once(
    tmp_path: Path, site: Callable[..., Path]
) -> None:
    queue = site(sbatch=SBATCH)
    wanted = jobs(tmp_path, "run")
    with ThreadPoolExecutor(2) as launchers:
        done = list(launchers.map(lambda _: cluster(tmp_path).submit(wanted), range(2)))
    assert len(queue.read_text().splitlines()) == 1
    assert sorted((one.jobs, one.already) for one in done) == [(0, 1), (1, 0)]


def test_launchers_that_both_see_no_worker_of_a_sweep_enlist_its_workers_once(
    tmp_path: Path, site: Callable[..., Path]
) -> None:
    queue = site(sbatch=SBATCH)

    def enlist(_: int) -> list[str]:
        found = sweep_workers.enlist(PROFILE, tmp_path / "sweep", "study-sweep", ["-V"], 1, {})
        return [task.job for task in found]

    with ThreadPoolExecutor(2) as launchers:
        first, other = launchers.map(enlist, range(2))
    assert len(queue.read_text().splitlines()) == 1
    assert first == other


def test_a_job_that_cannot_be_taken_back_leaves_none_of_the_others_in_the_queue(
    tmp_path: Path, site: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    site(sbatch=FULL, scancel='echo "$1" >> cancelled; [ "$1" != 101 ] || { echo no >&2; exit 1; }')
    with pytest.raises(RefusedError, match="the site is closed"):
        cluster(tmp_path).submit(jobs(tmp_path, "one", "two", "three"))
    assert Path("cancelled").read_text().split() == ["101", "102"]
    assert caplog.messages == ["job 101 is still in the queue: scancel: no"]


@pytest.mark.parametrize("said", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED"])
def test_accounting_that_lags_behind_the_queue_says_no_end(
    site: Callable[..., Path], tmp_path: Path, said: str
) -> None:
    job = Submitted("7_0", "study-1", str(tmp_path / "7_0_0_log.out"))
    other = Submitted("8_0", "study-1", str(tmp_path / "8_0_0_log.out"))
    site(sacct=f"echo '7_0|study-1|{said}|0:0'; echo '8_0|study-1|CANCELLED by 0|0:0'")
    found = slurm_queue.ends([job, other])
    assert found == {"8_0": "CANCELLED by 0"}
    assert slurm_queue.reason(job, found.get("7_0"))[0] == "cancelled"  # it never wrote a word
