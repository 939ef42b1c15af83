"""Run folders on disk: their states and scores, and what is left to do."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ablate.core.records.run import RunConfig
from ablate.runs import pending, store
from ablate.runs import status as run_status
from ablate.runs.lock import acquire_run, is_locked
from ablate.runs.pending import PlannedRun
from ablate.runs.record import mark_ended, read_record
from tests.run_folders import COST, write_record, write_score, write_tasks

KNN = {"type": "KNN", "k": 10}
LINEAR = {"type": "Linear"}


def score(folder: Path, task: str, settings: dict[str, Any], test: float | None = 40.0) -> None:
    key = f"{settings['type']}{settings.get('k', '')}"
    write_score(folder, task, settings, key, mean={"valid": None, "test": test})


def plan_runs(*fingerprints: str, kind: str = "jepa") -> list[PlannedRun]:
    return [PlannedRun(name, kind, {"seed": 0}, f"title of {name}") for name in fingerprints]


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_an_ended_run_is_in_the_state_it_recorded(tmp_path: Path, state: str) -> None:
    status = store.read_status(write_record(tmp_path / "run", state, "why", cost=COST))
    failure = "error" if state == "failed" else None
    assert status == store.RunStatus(state, "why", COST.seconds, failure=failure)


def test_a_run_without_a_record_is_planned(tmp_path: Path) -> None:
    assert store.read_status(tmp_path / "run").state == "planned"


def test_a_running_run_without_a_lock_is_stale(tmp_path: Path) -> None:
    assert store.read_status(write_record(tmp_path / "run", "running")).state == "stale"


def test_a_run_of_another_machine_whose_lock_is_not_seen_here_is_running(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", "running", host="another machine")
    assert store.read_status(folder).state == "running"


def test_a_locked_run_is_running(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", "running")
    with acquire_run(folder):
        assert store.read_status(folder).state == "running"


def test_a_run_is_locked_once(tmp_path: Path) -> None:
    with acquire_run(tmp_path / "run") as first, acquire_run(tmp_path / "run") as second:
        assert (first, second) == (True, False)


def test_testing_the_lock_does_not_block_another_process(
    tmp_path: Path,
) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            is_locked(tmp_path / "run")

    with ThreadPoolExecutor(2) as executor:
        looking = [executor.submit(look) for _ in range(2)]
        try:
            for _ in range(300):
                with acquire_run(tmp_path / "run") as acquired:
                    assert acquired
        finally:
            done.set()
        assert all(one.result() is None for one in looking)


HOLDER = """
import sys, time
from pathlib import Path
from ablate.runs.lock import acquire_run

with acquire_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_releases_its_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert is_locked(tmp_path / "run")
        finally:
            holder.kill()
    assert not is_locked(tmp_path / "run")


def test_marking_a_run_ended_keeps_an_end_that_was_recorded(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", "done")
    mark_ended(folder, "failed", "worker died")
    assert store.read_status(folder).state == "done"


def test_marking_a_run_ended_keeps_what_the_worker_recorded(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", "running", attempt=2)
    mark_ended(folder, "failed", "worker died")
    record = read_record(folder)
    assert (record.state, record.failure, record.attempt) == ("failed", "error", 2)
    assert record.reason == "worker died"


def test_a_config_follows_data_that_moved(tmp_path: Path) -> None:
    for place in ("here", "there"):
        settings = {"data": {"manifest": place}}
        store.write_config(tmp_path / "run", kind="jepa", settings=settings)
    config = RunConfig.read(tmp_path / "run" / "config.json")
    assert config == RunConfig(kind="jepa", settings={"data": {"manifest": "there"}})


def test_an_equal_config_is_not_written_again(tmp_path: Path) -> None:
    store.write_config(tmp_path / "run", kind="jepa", settings={"seed": 0})
    before = (tmp_path / "run" / "config.json").stat().st_ino
    store.write_config(tmp_path / "run", kind="jepa", settings={"seed": 0})
    assert (tmp_path / "run" / "config.json").stat().st_ino == before


@pytest.mark.parametrize("content", [None, "{", '{"format": 1, "kind": "jepa", "settings": {}}'])
def test_an_unusable_config_of_a_finished_run_is_written_again(
    tmp_path: Path, content: str | None
) -> None:
    folder = write_record(tmp_path / "run", "done")
    if content is not None:
        (folder / "config.json").write_text(content)
    work = pending.find_pending(plan_runs("run"), tmp_path, {})
    assert (len(work.done), work.jobs(tmp_path, {})) == (1, [])
    assert RunConfig.read(folder / "config.json").settings == {"seed": 0}


def test_a_truncated_record_is_named_in_the_state_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"state": ')
    status = store.read_status(tmp_path)
    assert status.state == "preempted"
    assert str(status.reason).startswith("run.json is not JSON")


def test_a_probe_is_missing_until_every_task_has_its_score(tmp_path: Path) -> None:
    probes = {"knn": KNN, "linear": LINEAR}
    assert store.find_missing_probes(tmp_path, probes) == ["knn", "linear"]
    score(tmp_path, "speech", KNN)
    score(tmp_path, "speech", LINEAR)
    score(tmp_path, "music", KNN)
    assert store.find_missing_probes(tmp_path, probes) == ["linear"]


def test_a_listed_task_without_a_score_is_missing_for_every_probe(tmp_path: Path) -> None:
    score(tmp_path, "speech", KNN)
    write_tasks(tmp_path, "music", "speech")
    assert store.find_missing_probes(tmp_path, {"knn": KNN}) == ["knn"]
    assert store.read_score(tmp_path, KNN, "mean") is None


def test_a_changed_probe_is_missing(tmp_path: Path) -> None:
    score(tmp_path, "speech", KNN)
    assert store.find_missing_probes(tmp_path, {"knn": {**KNN, "k": 5}}) == ["knn"]


def test_a_renamed_probe_is_not_missing(tmp_path: Path) -> None:
    score(tmp_path, "speech", KNN)
    assert store.find_missing_probes(tmp_path, {"neighbours": KNN}) == []


def test_a_score_is_the_mean_over_tasks(tmp_path: Path) -> None:
    score(tmp_path, "speech", KNN, 40)
    score(tmp_path, "music", KNN, 50)
    score(tmp_path, "music", {**KNN, "k": 5}, 90)
    assert store.read_score(tmp_path, KNN, "mean") == 45
    assert store.read_score(tmp_path, KNN, "concat_freq") is None


def test_scores_on_a_part_of_the_tasks_have_no_mean(tmp_path: Path) -> None:
    score(tmp_path, "speech", KNN, 40)
    score(tmp_path, "speech", LINEAR, 50)
    score(tmp_path, "music", LINEAR, 60)
    assert store.read_score(tmp_path, LINEAR, "mean") == 55
    assert store.read_score(tmp_path, KNN, "mean") is None
    elsewhere = {**KNN, "content": {"digest": "d", "tasks": ["speech", "music"]}}
    score(tmp_path, "speech", elsewhere, 40)
    assert store.read_score(tmp_path, elsewhere, "mean") is None


def test_a_prefix_of_the_fingerprint_finds_a_run(tmp_path: Path) -> None:
    for name in ("abc1", "abd2"):
        store.write_config(tmp_path / name, kind="jepa", settings={})
    assert store.find_run(tmp_path, "abc").name == "abc1"
    with pytest.raises(
        ValueError, match=r"2 runs in .* begin with `ab`: abc1, abd2; give more characters"
    ):
        store.find_run(tmp_path, "ab")
    with pytest.raises(ValueError, match=r"no run in .* begins with `x`"):
        store.find_run(tmp_path, "x")


def test_the_environment_names_the_folders() -> None:
    folders = store.get_folders({"ABLATE_RUNS": "/far/runs"})
    assert (folders.runs, folders.reports) == (Path("/far/runs"), Path("reports"))


def test_pending_work_is_sorted_by_what_is_left_to_do(tmp_path: Path) -> None:
    for name in ("done", "rescore"):
        write_record(tmp_path / name, "done")
    score(tmp_path / "done", "speech", KNN)
    write_record(tmp_path / "failed", "failed", "nan")
    write_record(tmp_path / "cut", "cancelled")
    write_record(tmp_path / "stale", "running")
    runs = plan_runs("done", "rescore", "failed", "cut", "stale", "new")
    work = pending.find_pending(runs, tmp_path, {"knn": KNN})
    assert [run.fingerprint for run in work.start] == ["cut", "stale", "new"]
    assert [run.fingerprint for run in work.score] == ["rescore"]
    assert [run.fingerprint for run in work.done] == ["done"]
    assert [(run.fingerprint, reason) for run, reason in work.failed] == [("failed", "nan")]


def test_failed_runs_are_started_again_with_retry_failed(tmp_path: Path) -> None:
    write_record(tmp_path / "failed", "failed")
    work = pending.find_pending(plan_runs("failed"), tmp_path, {}, retry_failed=True)
    assert [run.fingerprint for run in work.start] == ["failed"]


def test_a_shared_run_is_listed_once(tmp_path: Path) -> None:
    assert len(pending.find_pending(plan_runs("a", "a", "b"), tmp_path, {}).start) == 2


def test_references_are_run_after_trials(tmp_path: Path) -> None:
    runs = [*plan_runs("twin", kind="random_init"), *plan_runs("trial")]
    jobs = pending.find_pending(runs, tmp_path, {}).jobs(tmp_path, {})
    assert [job.folder.name for job in jobs] == ["trial", "twin"]


def test_jobs_have_their_config_on_disk(tmp_path: Path) -> None:
    (job,) = pending.find_pending(plan_runs("a"), tmp_path, {}).jobs(tmp_path, {})
    config = RunConfig.read(job.folder / "config.json")
    assert config == RunConfig(kind="jepa", settings={"seed": 0})


def test_columns_are_aligned() -> None:
    assert run_status.align_columns([["a", "bb", ""], ["ccc", "d", "e"]]) == [
        "  a    bb",
        "  ccc  d   e",
    ]


def test_the_path_of_a_run_finds_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    store.write_config(runs / "abc123", kind="jepa", settings={})
    for prefix in ("abc", "abc123", str(runs / "abc123"), f"{runs / 'abc123'}/"):
        assert store.find_run(runs, prefix) == runs / "abc123"
