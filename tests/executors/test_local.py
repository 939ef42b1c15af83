"""The pool runs real processes: a stand-in program that speaks the worker's protocol."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from ablate.core.machine_errors import MachineError
from ablate.core.records.messages import ProgressMessage
from ablate.executors.local import Pool
from ablate.executors.worker import WorkerDiedError
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.lock import acquire_run
from tests.executors.stand_in import STAND_IN
from tests.run_folders import write_record

PROBES = {"knn": {"type": "KNN", "k": 10}}


class Listener:
    """Records what it is notified of."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, ProgressMessage]] = []
        self.ended: list[RunOutcome] = []

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        self.messages.append((worker, job.title, progress))

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        self.ended.append(outcome)


class Interrupter(Listener):
    """Raises KeyboardInterrupt as soon as a trial has started."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        super().on_progress(worker, job, progress)
        raise KeyboardInterrupt


def make_job(runs: Path, name: str, masker: str) -> RunJob:
    folder = runs / name
    store.write_config(folder, kind="jepa", settings={"masker": {"type": masker}})
    return RunJob(folder, name, PROBES)


def run(jobs: list[RunJob], tmp_path: Path, *arguments: str, size: int = 2) -> list[RunOutcome]:
    with Pool(tmp_path / "cache", size=size, command=(*STAND_IN, *arguments)) as pool:
        return pool.run(jobs, Listener())


def trainings(job: RunJob) -> list[str]:
    return (job.folder / "trainings").read_text().splitlines()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_job_is_run_once_and_reported(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"run{i}", "Good") for i in range(6)]
    outcomes = run(jobs, tmp_path)
    assert sorted(outcome.job.title for outcome in outcomes) == [job.title for job in jobs]
    assert all(outcome.state == "done" and outcome.trained for outcome in outcomes)
    assert all(len(trainings(job)) == 1 for job in jobs)


def test_a_worker_outlives_its_trials(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"run{i}", "Good") for i in range(4)]
    run(jobs, tmp_path, size=1)
    assert len({trainings(job)[0].split()[0] for job in jobs}) == 1


@pytest.mark.parametrize(("gpus", "device"), [("0", "cpu"), ("1", "cuda:0")])
def test_a_job_gets_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: str, device: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    job = make_job(tmp_path, "run", "Good")
    with Pool(tmp_path / "cache", command=(*STAND_IN, "--gpus", gpus)) as pool:
        pool.run([job], Listener())
    assert trainings(job)[0].split()[1:] == [device, "1"]


def test_workers_share_out_the_gpus(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"run{i}", "SleepsOneSecond") for i in range(2)]
    with Pool(tmp_path / "cache", command=(*STAND_IN, "--gpus", "2")) as pool:
        assert pool.size == 2
        pool.run(jobs, Listener())
    assert {trainings(job)[0].split()[1] for job in jobs} == {"cuda:0", "cuda:1"}


def test_without_gpus_one_worker_is_used_per_core(tmp_path: Path) -> None:
    with Pool(tmp_path / "cache", command=STAND_IN) as pool:
        assert pool.size == len(os.sched_getaffinity(0))


def test_a_worker_that_dies_fails_its_own_run_only(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, name, name) for name in ("Good", "Crashes", "Fine", "Exits", "Also")]
    outcomes = {outcome.job.title: outcome for outcome in run(jobs, tmp_path, size=1)}
    assert outcomes.pop("Crashes").reason == "oom: worker died (signal 9); it killed 3 workers"
    exits = outcomes.pop("Exits")
    assert exits.reason == "worker died (exit code 3): out of luck; it killed 3 workers"
    assert all(
        len(trainings(job)) == (3 if job.title in ("Crashes", "Exits") else 1) for job in jobs
    )
    assert {outcome.state for outcome in outcomes.values()} == {"done"}


def test_a_full_disk_stops_the_pool_before_other_runs_are_tried(tmp_path: Path) -> None:
    first, second = (make_job(tmp_path, name, name) for name in ("FillsDisk", "Good"))
    with pytest.raises(MachineError, match=r"FillsDisk .*: node: no space"):
        run([first, second], tmp_path, size=1)
    assert store.read_status(first.folder).state == "preempted"
    assert store.read_status(second.folder).state == "planned"


def test_the_run_of_a_dead_worker_is_recorded_as_failed(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Crashes")
    run([job], tmp_path)
    status = store.read_status(job.folder)
    assert status.state == "failed"
    assert status.reason == "oom: worker died (signal 9); it killed 3 workers"


def test_an_outcome_distinguishes_a_dead_worker_from_a_failed_run(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, name, name) for name in ("Crashes", "Fails", "Good")]
    outcomes = {outcome.job.title: outcome for outcome in run(jobs, tmp_path)}
    assert [outcomes[job.title].died for job in jobs] == [True, False, False]


def test_a_worker_that_dies_is_replaced_and_its_trial_resumed(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "CrashesOnce")
    (outcome,) = run([job], tmp_path)
    assert (outcome.state, outcome.reason) == ("done", None)
    pids = {line.split()[0] for line in trainings(job)}
    assert len(pids) == 2
    assert not any(is_alive(int(pid)) for pid in pids)


def test_a_failed_trial_keeps_its_reason(tmp_path: Path) -> None:
    (outcome,) = run([make_job(tmp_path, "run", "Fails")], tmp_path)
    assert (outcome.state, outcome.reason) == ("failed", "nan: at step 7")


def test_probes_that_cannot_be_built_fail_the_run(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Good")
    (outcome,) = run([RunJob(job.folder, "run", {"knn": {"k": 0}})], tmp_path)
    assert outcome.reason == "`probes.knn.k`: must be at least 1, got 0"


def test_lines_between_the_replies_are_ignored(tmp_path: Path) -> None:
    (outcome,) = run([make_job(tmp_path, "run", "PrintsToStdout")], tmp_path)
    assert outcome.state == "done"


def test_progress_is_reported_with_its_worker_and_job(tmp_path: Path) -> None:
    listener = Listener()
    with Pool(tmp_path / "cache", size=1, command=STAND_IN) as pool:
        pool.run([make_job(tmp_path, "run", "Good")], listener)
    progress = ProgressMessage(label="train", done=2, total=2)
    assert listener.messages == [(0, "run", progress)]


def test_no_worker_is_left_running(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Good")
    run([job], tmp_path)
    assert not is_alive(int(trainings(job)[0].split()[0]))


def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(tmp_path: Path) -> None:
    done, cut = make_job(tmp_path, "done", "PrintsToStdout"), make_job(tmp_path, "cut", "Sleeps")
    run([done], tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        Pool(tmp_path / "cache", size=1, command=STAND_IN) as pool,
    ):
        pool.run([cut], Interrupter())
    assert not is_alive(int(trainings(cut)[0].split()[0]))
    assert [store.read_status(job.folder).state for job in (done, cut)] == ["done", "cancelled"]


def test_a_worker_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.executors.workers.GRACE_SECONDS", 0.3)
    job = make_job(tmp_path, "run", "IgnoresSigterm")
    with (
        pytest.raises(KeyboardInterrupt),
        Pool(tmp_path / "cache", size=1, command=STAND_IN) as pool,
    ):
        pool.run([job], Interrupter())
    assert not is_alive(int(trainings(job)[0].split()[0]))


def test_two_pools_at_once_train_each_trial_once(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"run{i}", "SleepsOneSecond" if i < 2 else "Good") for i in range(6)]
    ends: list[list[RunOutcome]] = []
    threads = [
        threading.Thread(target=lambda: ends.append(run(jobs, tmp_path, size=1)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(trainings(job)) == 1 for job in jobs)
    assert [{outcome.state for outcome in outcomes} for outcomes in ends] == [{"done"}, {"done"}]


def test_a_trial_that_just_failed_elsewhere_is_not_tried_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Good")
    with contextlib.ExitStack() as elsewhere:
        elsewhere.enter_context(acquire_run(job.folder))

        class OtherProcess(Listener):
            def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
                write_record(job.folder, "failed", "oom")
                elsewhere.close()

        with Pool(tmp_path / "cache", size=1, command=STAND_IN) as pool:
            (outcome,) = pool.run([job], OtherProcess())
    assert (outcome.state, outcome.reason) == ("failed", "oom")


def test_a_trial_that_is_done_by_now_is_left_alone(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Good")
    run([job], tmp_path)
    before = (job.folder / "run.json").stat().st_mtime_ns
    (outcome,) = run([job], tmp_path)
    assert (outcome.state, outcome.trained, outcome.probed) == ("done", False, ())
    assert (job.folder / "run.json").stat().st_mtime_ns == before


def test_a_worker_that_does_not_start_ends_the_pool(tmp_path: Path) -> None:
    job = make_job(tmp_path, "run", "Good")
    with pytest.raises(WorkerDiedError, match=r"exit code 1.*my_lab"):
        run([job], tmp_path, "--broken")
    assert store.read_status(job.folder).state == "planned"
