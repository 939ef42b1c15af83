"""Several processes evaluate the points of one sweep, and one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from ablate.sweep.storage import close_storage, open_storage
from tests.executors.stand_in import STAND_IN

ROOT = Path(__file__).parents[2]
POINTS, WORKERS, SECONDS = 100, 4, 240
STUDY = f"""\
study: many
baseline:
  data: {{type: Sound}}
  masker: {{type: SleepsBriefly}} # so that workers are busy most of the time
  patchifier: {{type: Squares}}
seeds: 1
probes: {{knn: {{type: KNN, k: 10}}}}
score: knn.mean
sweep:
  sampler: random
  trials: {POINTS}
  storage: STORAGE
  space: {{optimizer.rate: {{low: 1e-4, high: 1.0, log: true}}}}
"""
ENTRY = """\
import sys
from pathlib import Path
from ablate.study import run as study
from ablate.study.exit_codes import interrupt_on_signals
interrupt_on_signals()
sys.exit(study.run_study(Path("study.yaml"), command=sys.argv[1:], workers=1))
"""


@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_a_killed_process_loses_no_point_and_repeats_none(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    (tmp_path / "study.yaml").write_text(STUDY.replace("STORAGE", url or "journal"))
    with open_study_storage(tmp_path, url) as storage, start_workers(tmp_path) as processes:
        lost = kill_at_work(processes[0], tmp_path, storage)
        ends = [process.wait(SECONDS) for process in processes[1:]]
        assert ends == [0] * (WORKERS - 1), read_log(tmp_path)
        trials = load_trials(storage)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == POINTS
    assert len({trial.params["optimizer.rate"] for trial in done}) == POINTS
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert lost in [trial.params for trial in done]


def test_a_deleted_journal_is_rebuilt_from_the_runs(tmp_path: Path) -> None:
    text = STUDY.replace("STORAGE", "journal").replace(f"trials: {POINTS}", "trials: 12")
    (tmp_path / "study.yaml").write_text(text)
    assert run_one(tmp_path) == 0, read_log(tmp_path)
    with open_study_storage(tmp_path, None) as storage:
        before = {tuple(t.params.items()): t.values for t in load_trials(storage)}
    (tmp_path / "reports" / "many" / "optuna.journal").unlink()
    runs = sorted(tmp_path.glob("runs/*"))
    assert run_one(tmp_path) == 0, read_log(tmp_path)
    with open_study_storage(tmp_path, None) as storage:
        after = {tuple(t.params.items()): t.values for t in load_trials(storage)}
    assert after == before
    assert len(after) == 12
    assert sorted(tmp_path.glob("runs/*")) == runs


@pytest.mark.parametrize(
    ("masker", "sign"), [("Sleeps", "trainings"), ("SleepsWhileScoring", "probes/*/*.json")]
)
def test_a_terminated_process_releases_its_point_without_using_a_try(
    tmp_path: Path, masker: str, sign: str
) -> None:
    text = STUDY.replace("STORAGE", "journal").replace(f"trials: {POINTS}", "trials: 1")
    (tmp_path / "study.yaml").write_text(text.replace("SleepsBriefly", masker))
    process = start(tmp_path)
    try:
        deadline = time.monotonic() + SECONDS
        while not list(tmp_path.glob(f"runs/*/{sign}")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGUSR2)  # SLURM signals every process of a job
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130, read_log(tmp_path)
    finally:
        process.kill()
        process.wait()
    with open_study_storage(tmp_path, None) as storage:
        released, waiting = load_trials(storage)
    assert (released.state, released.user_attrs["void"]) == (TrialState.FAIL, "interrupted")
    assert (waiting.state, waiting.user_attrs["tries"]) == (TrialState.WAITING, 0)


@contextmanager
def start_workers(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Starts the workers, the first of which stays in its third point, and kills all at the end."""
    processes = [start(folder, "--sleep-at", "3"), *(start(folder) for _ in range(WORKERS - 1))]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    names = ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", ENTRY, *STAND_IN, *options],
            cwd=folder,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )


def run_one(folder: Path) -> int:
    process = start(folder)
    try:
        return process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()


def kill_at_work(
    process: subprocess.Popen[bytes], folder: Path, storage: BaseStorage
) -> dict[str, float]:
    """Kills a process while it evaluates a point; returns the point's parameters."""
    lock = folder / "reports" / "many" / "optuna.journal.lock"
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.3)
        if not (folder / "asleep").exists():
            continue
        process.send_signal(signal.SIGSTOP)  # freezes its state until it is killed
        own = list_own_points(process, storage)
        if own and not lock.exists():
            process.kill()
            process.wait()
            return own[0]
        process.send_signal(signal.SIGCONT)
    pytest.fail(f"it never evaluated a point: {read_log(folder)}")


@contextmanager
def open_study_storage(folder: Path, url: str | None) -> Iterator[BaseStorage]:
    """Opens the storage that the workers use."""
    storage = open_storage(url, folder / "reports" / "many" / "optuna.journal")
    try:
        yield storage
    finally:
        close_storage(storage)


def load_trials(storage: BaseStorage) -> list[optuna.trial.FrozenTrial]:
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage).get_trials() if names else []


def list_own_points(
    process: subprocess.Popen[bytes], storage: BaseStorage
) -> list[dict[str, float]]:
    """Lists the points that a process is evaluating."""
    running = [t for t in load_trials(storage) if t.state == TrialState.RUNNING]
    return [t.params for t in running if belongs_to(t, process.pid) and t.params]


def belongs_to(trial: optuna.trial.FrozenTrial, pid: int) -> bool:
    return f" {pid} " in trial.user_attrs.get("worker", "")


def read_log(folder: Path) -> str:
    lines = (folder / "log.txt").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith(("[", " ")))
