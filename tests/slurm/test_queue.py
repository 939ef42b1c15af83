"""Tests that runs are submitted once and cancelled together, with scripted SLURM commands."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.config.snapshot import StudySnapshot
from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.slurm import command_array, history
from ablate.slurm.commands import SlurmError
from ablate.slurm.executor import Cluster
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob
from ablate.slurm.resources import Resources
from tests.slurm.fake_slurm import write_commands

SBATCH = """\
[ "$1" = --test-only ] && exit 0
sleep 0.5 # as long as another process may take to query the queue
number=$$
name=$(sed -n 's/^#SBATCH --job-name=//p' "$2")
echo "${number}_0|$name|PENDING|None" >> QUEUE
echo $number
"""
FULL = """\
[ "$1" = --test-only ] && exit 0
[ -e QUEUE.2 ] && echo "the cluster is closed" >&2 && exit 1
[ -e QUEUE.1 ] && touch QUEUE.2 && echo 102 && exit 0
touch QUEUE.1 && echo 101
"""
PROFILE = Profile(name="site", max_array=1, canary=False)
SNAPSHOT = StudySnapshot(
    file="study.yaml", overrides=[], name="study", title="", source="", settings={}
)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Returns a function that writes SLURM commands and returns the file of their queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    queue = tmp_path / "queue"
    queue.touch()

    def make(**commands: str) -> Path:
        scripts = {"squeue": "cat QUEUE", **commands}
        write_commands(
            tmp_path, {name: body.replace("QUEUE", str(queue)) for name, body in scripts.items()}
        )
        return queue

    return make


def cluster(tmp_path: Path) -> Cluster:
    resources = Resources(PROFILE, {}, {})
    return Cluster(resources, tmp_path / "slurm", tmp_path / "cache", study="study")


def jobs(tmp_path: Path, *names: str) -> list[RunJob]:
    created = [RunJob(tmp_path / "runs" / name, name, {}) for name in names]
    for job in created:
        store.write_config(job.folder, kind="jepa", settings={"seed": 0})
    return created


def test_two_processes_that_see_an_empty_queue_submit_a_run_once(
    tmp_path: Path, scripted: Callable[..., Path]
) -> None:
    queue = scripted(sbatch=SBATCH)
    wanted = jobs(tmp_path, "run")
    with ThreadPoolExecutor(2) as processes:
        done = list(processes.map(lambda _: cluster(tmp_path).submit(wanted), range(2)))
    assert len(queue.read_text().splitlines()) == 1
    assert sorted((one.num_runs, one.num_queued_before) for one in done) == [(0, 1), (1, 0)]


def test_two_processes_that_see_no_sweep_worker_submit_the_workers_once(
    tmp_path: Path, scripted: Callable[..., Path]
) -> None:
    queue = scripted(sbatch=SBATCH)

    def submit(_: int) -> list[str]:
        workers = command_array.submit_array(
            PROFILE, tmp_path / "sweep", "study-sweep", SNAPSHOT, ["sweep"], 1
        )
        return [worker.job_id for worker in workers]

    with ThreadPoolExecutor(2) as processes:
        first, other = processes.map(submit, range(2))
    assert len(queue.read_text().splitlines()) == 1
    assert first == other


def test_a_job_that_cannot_be_cancelled_does_not_keep_the_others_queued(
    tmp_path: Path, scripted: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    scripted(
        sbatch=FULL, scancel='echo "$1" >> cancelled; [ "$1" != 101 ] || { echo no >&2; exit 1; }'
    )
    with pytest.raises(SlurmError, match="the cluster is closed"):
        cluster(tmp_path).submit(jobs(tmp_path, "one", "two", "three"))
    assert Path("cancelled").read_text().split() == ["101", "102"]
    assert caplog.messages == ["job 101 is still in the queue: scancel: no"]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED"])
def test_a_job_that_accounting_lists_as_unfinished_has_not_left_the_queue(
    scripted: Callable[..., Path], tmp_path: Path, state: str
) -> None:
    job = SubmittedJob("7_0", "study-1", str(tmp_path / "7_0_0_log.out"))
    other = SubmittedJob("8_0", "study-1", str(tmp_path / "8_0_0_log.out"))
    scripted(sacct=f"echo '7_0|study-1|{state}|0:0'; echo '8_0|study-1|CANCELLED by 0|0:0'")
    assert history.find_gone([job, other]) == {"8_0": "CANCELLED by 0"}
    assert history.explain_end(job, None)[0] == "cancelled"  # it wrote no log
