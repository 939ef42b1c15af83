"""What a job does on its node, without a cluster."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.core.io import find_json, write_json
from ablate.core.records.jobs import EndMark, JobSpec
from ablate.runs import store
from ablate.runs.record import read_record
from ablate.slurm import job as slurm_job
from ablate.slurm.job import Job
from tests.run_folders import write_record
from tests.slurm.scripted_site import lay

KNN = {"type": "KNN", "k": 10}
# scores a run that is trained already, and is told to stop meanwhile, as `ablate.worker` takes it
SCORES_UNTIL_TOLD = """\
import os, signal, sys, time
from pathlib import Path
from ablate.core.records.run import RunRecord

folder = Path(sys.argv[1 + sys.argv.index("ablate.worker")])
record = RunRecord(state="done", reason="stopped before it was done")
record.write(folder / "run.json")
os.kill(os.getppid(), signal.SIGUSR2)
time.sleep(60)
"""
TRAINS_UNTIL_TOLD = SCORES_UNTIL_TOLD.replace('"done"', '"preempted"')


def test_a_node_on_which_no_worker_starts_in_time_is_reported() -> None:
    found = slurm_job.report(seconds=0.01)
    assert found.host
    assert (found.torch, found.problem) == (None, "it took longer than 0.01 s")


@pytest.fixture
def requeued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that writes down what `scontrol` is told."""
    there = lay(tmp_path, {"scontrol": f'echo "$@" >> {tmp_path}/told'})
    monkeypatch.setenv("PATH", str(there), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    return tmp_path / "told"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Makes the job of one run folder, which hears signals until the test's end."""
    before = {number: signal.getsignal(number) for number in (*slurm_job.AGAIN, signal.SIGALRM)}
    before |= {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def make(folder: Path, step: str = "", **spec: Any) -> Job:
        write_json(tmp_path / "probes.json", {"knn": KNN})
        usual: dict[str, Any] = {"probes": str(tmp_path / "probes.json"), "device": "cpu"}
        usual |= {"cache": "cache", "evaluate": None, "max_requeues": 3, "signal_seconds": 60}
        usual["step"] = [sys.executable, "-c", step]
        made = Job(JobSpec(**{**usual, **spec}), tmp_path / "home", [str(folder)])
        made.listen()
        return made

    yield make
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def trained(folder: Path) -> Path:
    write_record(folder, "done")
    (folder / "encoder.safetensors").touch()
    return folder


def test_a_job_told_to_stop_while_it_scores_a_run_queues_itself_again(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = trained(tmp_path / "run")
    assert not job(folder, SCORES_UNTIL_TOLD).work()
    assert requeued.read_text() == "requeue 7\n"
    assert find_json(tmp_path / "home" / "ended" / "run.json") is None
    assert store.read_status(folder).state == "done"


def test_what_is_trained_stays_trained_where_its_scoring_is_given_up(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = trained(tmp_path / "run")
    assert not job(folder, SCORES_UNTIL_TOLD, max_requeues=0).work()
    assert not requeued.exists()
    status = store.read_status(folder)
    assert (status.state, str(status.reason).partition(":")[0]) == ("done", "timeout")
    assert EndMark.read(tmp_path / "home" / "ended" / "run.json").state == "failed"


def test_a_run_whose_job_the_site_will_not_queue_again_has_not_failed(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho Job is disabled >&2; exit 1\n")
    folder = tmp_path / "run"
    assert not job(folder, TRAINS_UNTIL_TOLD).work()
    status = store.read_status(folder)
    assert (status.state, status.reason) == (
        "preempted",
        "cannot be requeued: scontrol: Job is disabled",
    )
    assert find_json(tmp_path / "home" / "ended" / "run.json") is None


def test_a_job_told_to_stop_waits_no_longer_for_another_machines_heart(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = tmp_path / "run"
    write_record(folder, "running", host="another machine")
    waiting = job(folder)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    started = time.monotonic()
    assert not waiting.work()
    assert time.monotonic() - started < 10
    assert requeued.read_text() == "requeue 7\n"
    assert read_record(folder).state == "running"
