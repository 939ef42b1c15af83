"""Tests of the process that runs a job on its node, without a cluster."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.core.io import find_json, write_json
from ablate.core.records.jobs import EndMark, JobSpec
from ablate.runs import store
from ablate.runs.record import read_record
from ablate.slurm import node_check
from ablate.slurm.job import Job
from ablate.slurm.requeue import REQUEUE_SIGNALS
from tests.run_folders import write_record
from tests.slurm.fake_slurm import write_commands

KNN = {"type": "KNN", "k": 10}
# stands in for `ablate.worker`: scores a trained run and is signalled to stop meanwhile
SCORES_UNTIL_SIGNAL = """\
import os, signal, sys, time
from pathlib import Path
from ablate.core.records.run import RunRecord

folder = Path(sys.argv[1 + sys.argv.index("ablate.worker")])
record = RunRecord(state="done", reason="stopped before it was done")
record.write(folder / "run.json")
os.kill(os.getppid(), signal.SIGUSR2)
time.sleep(60)
"""
TRAINS_UNTIL_SIGNAL = SCORES_UNTIL_SIGNAL.replace('"done"', '"preempted"')

# stands in for `ablate.worker`: waits until as many trials run as are wanted, or for five minutes
MEETS_OTHERS = """\
import os, signal, sys, time
from pathlib import Path
from ablate.core.records.run import RunRecord

folder = Path(sys.argv[1 + sys.argv.index("ablate.worker")])
(folder / "attempts" / "001").mkdir(parents=True)
deadline = time.monotonic() + 300
while len(list(folder.parent.glob("*/attempts"))) < 2 and time.monotonic() < deadline:
    time.sleep(0.02)
"""
MEET_AND_FAIL = (
    MEETS_OTHERS
    + """
met = time.monotonic() < deadline
share = sys.argv[1 + sys.argv.index("--memory-share")]
RunRecord(state="failed", reason=f"error: met {met}, {share}").write(folder / "run.json")
"""
)
MEET_UNTIL_SIGNAL = (
    MEETS_OTHERS
    + """
if folder.name == "first":
    os.kill(os.getppid(), signal.SIGUSR2)
time.sleep(60)
(folder / "slept").touch()
"""
)
NEEDS_ALL_MEMORY = """\
import sys
from pathlib import Path
from ablate.core.records.run import RunRecord

folder = Path(sys.argv[1 + sys.argv.index("ablate.worker")])
folder.joinpath("attempts", str(len(list(folder.glob("attempts/*"))) + 1)).mkdir(parents=True)
fits = folder.name == "small" or "--memory-share" not in sys.argv
record = RunRecord().with_state("failed", "error: it fits" if fits else "oom: too large")
record.write(folder / "run.json")
"""
NEEDS_ALL_MEMORY_UNTIL_SIGNAL = (
    NEEDS_ALL_MEMORY
    + """
import os, signal, time
if folder.name == "small":
    while not (folder.parent / "large" / "run.json").exists():
        time.sleep(0.02)
    os.kill(os.getppid(), signal.SIGUSR2)
    time.sleep(60)
"""
)


def test_a_node_on_which_no_worker_starts_in_time_is_reported() -> None:
    report = node_check.check_node(seconds=0.01)
    assert report.host
    assert (report.torch, report.problem) == (None, "it took longer than 0.01 s")


@pytest.fixture
def requeued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the arguments of each call of `scontrol`."""
    folder = write_commands(tmp_path, {"scontrol": f'echo "$@" >> {tmp_path}/calls'})
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    return tmp_path / "calls"


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Returns a function that creates the job of a run folder, with its signal handlers."""
    before = {number: signal.getsignal(number) for number in (*REQUEUE_SIGNALS, signal.SIGALRM)}
    before |= {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def make(*folders: Path, step: str = "", **spec: Any) -> Job:
        write_json(tmp_path / "probes.json", {"knn": KNN})
        defaults: dict[str, Any] = {"probes": str(tmp_path / "probes.json"), "device": "cpu"}
        defaults |= {"cache": "cache", "evaluate": None, "max_requeues": 3, "signal_seconds": 60}
        defaults["step"] = [sys.executable, "-c", step]
        made = Job(JobSpec(**{**defaults, **spec}), tmp_path / "home", list(map(str, folders)))
        made.install_handlers()
        return made

    yield make
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def trained(folder: Path) -> Path:
    write_record(folder, "done")
    (folder / "encoder.safetensors").touch()
    return folder


def test_a_job_signalled_while_it_scores_a_run_requeues_itself(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = trained(tmp_path / "run")
    assert not job(folder, step=SCORES_UNTIL_SIGNAL).run()
    assert requeued.read_text() == "requeue 7\n"
    assert find_json(tmp_path / "home" / "ended" / "run.json") is None
    assert store.read_status(folder).state == "done"


def test_a_trained_run_stays_done_if_its_scoring_is_abandoned(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = trained(tmp_path / "run")
    assert not job(folder, step=SCORES_UNTIL_SIGNAL, max_requeues=0).run()
    assert not requeued.exists()
    status = store.read_status(folder)
    assert (status.state, str(status.reason).partition(":")[0]) == ("done", "timeout")
    assert EndMark.read(tmp_path / "home" / "ended" / "run.json").state == "failed"


def test_a_run_whose_job_cannot_be_requeued_is_preempted_and_not_failed(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho Job is disabled >&2; exit 1\n")
    folder = tmp_path / "run"
    assert not job(folder, step=TRAINS_UNTIL_SIGNAL).run()
    status = store.read_status(folder)
    assert (status.state, status.reason) == (
        "preempted",
        "cannot be requeued: scontrol: Job is disabled",
    )
    assert find_json(tmp_path / "home" / "ended" / "run.json") is None


def test_a_node_on_which_no_trial_starts_preempts_the_run_and_tries_no_other(
    tmp_path: Path, job: Callable[..., Job]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    work = job(first, second, step="raise SystemExit('no module named lab')")
    assert not work.run()
    status = store.read_status(first)
    assert (status.state, status.failure) == ("preempted", None)
    assert str(status.reason).startswith("node: no trial starts on ")
    assert str(status.reason).endswith("(exit code 1): no module named lab")
    assert not (second / "run.json").exists()
    assert not (tmp_path / "home" / "ended").exists()


def test_a_trial_whose_process_dies_after_its_start_has_failed(
    tmp_path: Path, job: Callable[..., Job]
) -> None:
    folder = tmp_path / "run"
    assert not job(
        folder, step=f"import os; os.makedirs({str(folder / 'attempts/001')!r}); 1/0"
    ).run()
    status = store.read_status(folder)
    assert (status.state, status.failure) == ("failed", "error")
    assert EndMark.read(tmp_path / "home" / "ended" / "run.json").state == "failed"


def test_a_signalled_job_stops_waiting_for_another_machines_heartbeat(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folder = tmp_path / "run"
    write_record(folder, "running", host="another machine")
    waiting = job(folder)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    assert not waiting.run()  # else it would take the run over once the heartbeat is stale
    assert requeued.read_text() == "requeue 7\n"
    assert read_record(folder).state == "running"


def test_trials_run_side_by_side_and_share_a_gpu(tmp_path: Path, job: Callable[..., Job]) -> None:
    folders = [tmp_path / "runs" / name for name in ("first", "second")]
    assert not job(*folders, step=MEET_AND_FAIL, at_once=2).run()
    reasons = [store.read_status(folder).reason for folder in folders]
    assert reasons == ["error: met True, 0.5"] * 2


def test_a_signalled_job_stops_all_its_trials_and_requeues_itself_once(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folders = [tmp_path / "runs" / name for name in ("first", "second", "third")]
    assert not job(*folders, step=MEET_UNTIL_SIGNAL, at_once=2, signal_seconds=1000).run()
    assert not list(tmp_path.glob("runs/*/slept"))
    assert requeued.read_text() == "requeue 7\n"
    states = [store.read_status(folder).state for folder in folders]
    assert states == ["preempted", "preempted", "planned"]


def test_a_trial_that_runs_out_of_memory_beside_others_is_tried_again_by_itself(
    tmp_path: Path, job: Callable[..., Job]
) -> None:
    folders = [tmp_path / "runs" / name for name in ("large", "small")]
    assert not job(*folders, step=NEEDS_ALL_MEMORY, at_once=2).run()
    assert [store.read_status(folder).reason for folder in folders] == ["error: it fits"] * 2
    assert [len(list(folder.glob("attempts/*"))) for folder in folders] == [2, 1]


def test_a_trial_that_is_to_be_tried_again_by_itself_has_not_failed_if_the_job_is_signalled(
    tmp_path: Path, job: Callable[..., Job], requeued: Path
) -> None:
    folders = [tmp_path / "runs" / name for name in ("large", "small")]
    step = NEEDS_ALL_MEMORY_UNTIL_SIGNAL
    assert not job(*folders, step=step, at_once=2, signal_seconds=1000).run()
    status = store.read_status(folders[0])
    assert (status.state, status.reason) == ("preempted", "out of memory beside other trials")
