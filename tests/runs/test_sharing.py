"""Several sessions and writers share a disk: nothing is run twice, nothing is lost."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.core.io import find_json, write_json
from ablate.core.records.plan import StudyPlan
from ablate.core.records.run import ENVIRONMENT_FILE, Environment, Heartbeat, RunConfig
from ablate.runs import store
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.runs.lock import PATIENCE_SECONDS, acquire_run
from ablate.runs.record import RunAttempt, SupersededError, read_record
from ablate.slurm import monitor
from ablate.slurm.job import get_patience
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.run_folders import edit_record, write_record

ROOT = Path(__file__).parents[2]
SECONDS = 240.0  # for a launcher to end
STUDY = """\
study: shared
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good}
    fails: {type: Fails}
    third: {type: Third}
    slow: {type: SleepsOneSecond}
    fifth: {type: Fifth}
    sixth: {type: Sixth}
  patchifier: {squares: {type: Squares}, strips: {type: Strips}}
seeds: 1
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""
ENTRY = """\
import sys
from pathlib import Path
from ablate.study import run as study
sys.stdin.readline()
sys.exit(study.run_study(Path("study.yaml"), command=sys.argv[1:], workers=2))
"""


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    Path("study.yaml").write_text(STUDY)


def executions(kind: str = "jepa") -> dict[str, int]:
    """Returns how often each run of a kind was trained."""
    results = {}
    for config in Path("runs").glob("*/config.json"):
        log = config.parent / "trainings"
        if json.loads(config.read_text())["kind"] == kind:
            results[config.parent.name] = len(log.read_text().splitlines()) if log.exists() else 0
    return results


def run() -> int:
    return study.run_study(Path("study.yaml"), workers=6, command=STAND_IN)


def test_twelve_cells_are_run_once_then_not_at_all_then_only_the_failed_ones() -> None:
    assert run() == study.FAILED
    assert sum(executions().values()) == len(executions()) == 12
    assert run() == study.FAILED
    assert sum(executions().values()) == 12
    plan = StudyPlan.read(Path("reports/shared/plan.json"))
    assert len(monitor.reset_failed_runs(plan, Path("runs"), [])) == 2
    assert run() == study.FAILED
    assert sorted(executions().values()) == [1] * 10 + [2] * 2


def launchers(count: int) -> list[int]:
    """Starts sessions of the study at the same time; returns their exit codes."""
    command = [sys.executable, "-c", ENTRY, *STAND_IN]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    results = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
        for _ in range(count)
    ]
    try:
        for process in results:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return [process.wait(SECONDS) for process in results]
    finally:
        for process in results:
            process.kill()
            process.communicate()


def test_two_launchers_of_one_study_share_its_trials() -> None:
    Path("study.yaml").write_text(STUDY.replace("Fails", "SleepsOneSecond, ratio: 0.1"))
    assert launchers(2) == [study.DONE] * 2
    for kind in ("jepa", "random_init", "mel_statistics"):
        assert set(executions(kind).values()) == {1}


def test_a_stale_trial_is_resumed_once() -> None:
    Path("study.yaml").write_text(STUDY.replace("Fails", "SleepsOneSecond, ratio: 0.1"))
    assert launchers(1) == [study.DONE]
    stale = Path("runs") / min(executions())
    edit_record(stale, state="running")  # and no process has locked it
    assert store.read_status(stale).state == "stale"
    assert launchers(2) == [study.DONE] * 2
    assert executions()[stale.name] == 2
    assert sum(executions().values()) == 13


def test_two_hundred_writers_claim_two_hundred_attempts(tmp_path: Path) -> None:
    with ThreadPoolExecutor(50) as writers:
        for _ in range(200):
            writers.submit(RunAttempt, tmp_path / "run", kind="jepa", device="cpu")
    attempts = sorted(int(path.name) for path in (tmp_path / "run" / "attempts").iterdir())
    assert attempts == list(range(1, 201))


def test_a_file_of_two_hundred_writers_is_complete_whenever_it_is_read(tmp_path: Path) -> None:
    file, going, seen = tmp_path / "run" / "run.json", threading.Event(), []

    def look() -> None:
        while not going.is_set():
            seen.append(find_json(file))

    reader = threading.Thread(target=look, daemon=True)
    reader.start()
    try:
        with ThreadPoolExecutor(50) as writers:
            done = [
                writers.submit(write_json, file, {"writer": number, "more": "x" * 20_000})
                for number in range(200)
            ]
    finally:
        going.set()
        reader.join()
    assert [future.exception() for future in done] == [None] * 200
    assert all(len(results["more"]) == 20_000 for results in seen if results is not None)
    assert [path.name for path in file.parent.iterdir()] == ["run.json"]


def test_a_superseded_attempt_writes_nothing(tmp_path: Path) -> None:
    first = RunAttempt(tmp_path / "run", kind="jepa", device="cpu")
    first.start()
    second = RunAttempt(tmp_path / "run", kind="jepa", device="cpu")
    second.start()
    with pytest.raises(SupersededError, match="attempt 001 was superseded"):
        first.fail("of old age", details="")
    assert read_record(tmp_path / "run").attempt == 2


def test_other_files_among_the_attempts_are_not_attempts(tmp_path: Path) -> None:
    first = RunAttempt(tmp_path / "run", kind="jepa", device="cpu")
    (tmp_path / "run" / "attempts" / ".nfs000000000001").touch()
    first.start()
    RunAttempt(tmp_path / "run", kind="jepa", device="cpu").finish()
    assert read_record(tmp_path / "run").attempt == 2


def running_elsewhere(folder: Path) -> Path:
    Heartbeat(count=1).write(folder / HEARTBEAT_FILE)
    return write_record(folder, "running", host="another machine")


def test_a_run_whose_heartbeat_rises_on_another_machine_is_not_acquired(tmp_path: Path) -> None:
    folder = running_elsewhere(tmp_path / "run")
    going = threading.Event()

    def beat() -> None:
        count = 1
        while not going.is_set():
            count += 1
            Heartbeat(count=count).write(folder / HEARTBEAT_FILE)

    writer = threading.Thread(target=beat, daemon=True)
    writer.start()
    try:
        with acquire_run(folder) as acquired:
            assert not acquired
    finally:
        going.set()
        writer.join()


def test_a_run_whose_heartbeat_has_stopped_is_acquired(tmp_path: Path) -> None:
    with acquire_run(running_elsewhere(tmp_path / "run"), patience=0.5) as acquired:
        assert acquired


def test_only_a_job_that_is_run_again_does_not_wait_for_its_own_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = running_elsewhere(tmp_path / "run")
    site = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "sizes-1a2b"}
    assert get_patience(folder) == PATIENCE_SECONDS  # no job was at it, and this is none
    for name, value in site.items():
        monkeypatch.setenv(name, value)
    assert get_patience(folder) == PATIENCE_SECONDS
    for other in ({"SLURM_JOB_ID": "8"}, {"SLURM_JOB_NAME": "theirs"}):
        Environment(slurm={**site, **other}).write(folder / ENVIRONMENT_FILE)
        assert get_patience(folder) == PATIENCE_SECONDS
    Environment(slurm=site).write(folder / ENVIRONMENT_FILE)
    assert get_patience(folder) == 0


def test_a_worker_that_is_started_by_hand_does_not_touch_a_locked_run(tmp_path: Path) -> None:
    RunConfig(kind="jepa", settings={}).write(tmp_path / "run" / "config.json")
    with acquire_run(tmp_path / "run"):
        done = subprocess.run(
            [sys.executable, "-m", "ablate.worker", str(tmp_path / "run")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert (done.returncode, "is being run by another process" in done.stderr) == (1, True)
    assert not (tmp_path / "run" / "attempts").exists()
