"""What is on disk, and what is left to do."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ablate.runs import pending, store
from ablate.runs import status as run_status
from ablate.runs.lock import acquire_run, is_held
from ablate.runs.pending import PlannedRun

KNN = {"type": "KNN", "k": 10}
LINEAR = {"type": "Linear"}


def record(folder: Path, **content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def scored(folder: Path, task: str, settings: dict[str, Any], test: float | None = 40.0) -> None:
    path = folder / "probes" / task / f"{settings['type']}{settings.get('k', '')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"settings": settings, "scores": {"mean": {"valid": None, "test": test}}}
    path.write_text(json.dumps(content))


def wanted(*fingerprints: str, kind: str = "jepa") -> list[PlannedRun]:
    return [PlannedRun(name, kind, {"seed": 0}, f"title of {name}") for name in fingerprints]


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_an_ended_run_is_in_the_state_it_recorded(tmp_path: Path, state: str) -> None:
    status = store.read_status(
        record(tmp_path / "run", state=state, reason="why", cost={"seconds": 3})
    )
    assert status == store.RunStatus(state, "why", 3)


def test_a_run_without_a_record_is_planned(tmp_path: Path) -> None:
    assert store.read_status(tmp_path / "run").state == "planned"


def test_a_running_run_that_nobody_holds_is_stale(tmp_path: Path) -> None:
    assert store.read_status(record(tmp_path / "run", state="running")).state == "stale"


def test_a_run_of_another_machine_whose_lock_is_not_seen_here_is_running(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", state="running", host="another machine")
    assert store.read_status(folder).state == "running"


def test_a_held_run_is_running(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", state="running")
    with acquire_run(folder):
        assert store.read_status(folder).state == "running"


def test_a_run_is_held_once(tmp_path: Path) -> None:
    with acquire_run(tmp_path / "run") as first, acquire_run(tmp_path / "run") as second:
        assert (first, second) == (True, False)


def test_looking_who_holds_a_run_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            is_held(tmp_path / "run")

    with ThreadPoolExecutor(2) as executor:
        looking = [executor.submit(look) for _ in range(2)]
        try:
            for _ in range(300):
                with acquire_run(tmp_path / "run") as mine:
                    assert mine
        finally:
            done.set()
        assert all(one.result() is None for one in looking)


HOLDER = """
import sys, time
from pathlib import Path
from ablate.runs.lock import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_is_let_go_by_a_process_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert is_held(tmp_path / "run")
        finally:
            holder.kill()
    assert not is_held(tmp_path / "run")


def test_closing_keeps_a_run_that_has_ended(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", state="done")
    store.mark_ended(folder, "failed", "worker died")
    assert store.read_status(folder).state == "done"


def test_closing_keeps_what_the_worker_had_recorded(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", state="running", attempt=2)
    store.mark_ended(folder, "failed", "worker died")
    content = json.loads((folder / "run.json").read_text())
    assert content == {"state": "failed", "attempt": 2, "reason": "worker died"}


def test_a_config_follows_data_that_moved(tmp_path: Path) -> None:
    for place in ("here", "there"):
        settings = {"data": {"manifest": place}}
        store.write_config(tmp_path / "run", kind="jepa", settings=settings)
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content == {"kind": "jepa", "settings": {"data": {"manifest": "there"}}}


def test_a_config_that_says_so_already_is_left_alone(tmp_path: Path) -> None:
    store.write_config(tmp_path / "run", kind="jepa", settings={"seed": 0})
    before = (tmp_path / "run" / "config.json").stat().st_ino
    store.write_config(tmp_path / "run", kind="jepa", settings={"seed": 0})
    assert (tmp_path / "run" / "config.json").stat().st_ino == before


def test_half_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"state": ')
    with pytest.raises(ValueError, match=r"run\.json is not JSON .* delete it"):
        store.read_status(tmp_path)


def test_a_probe_is_missing_until_every_task_has_its_score(tmp_path: Path) -> None:
    probes = {"knn": KNN, "linear": LINEAR}
    assert store.missing_probes(tmp_path, probes) == ["knn", "linear"]
    scored(tmp_path, "speech", KNN)
    scored(tmp_path, "speech", LINEAR)
    scored(tmp_path, "music", KNN)
    assert store.missing_probes(tmp_path, probes) == ["linear"]


def test_a_task_that_was_to_be_scored_is_missed_by_every_probe(tmp_path: Path) -> None:
    scored(tmp_path, "speech", KNN)
    (tmp_path / store.TASKS).write_text('{"tasks": ["music", "speech"]}')
    assert store.missing_probes(tmp_path, {"knn": KNN}) == ["knn"]
    assert store.read_score(tmp_path, KNN, "mean") is None


def test_a_changed_probe_is_missing(tmp_path: Path) -> None:
    scored(tmp_path, "speech", KNN)
    assert store.missing_probes(tmp_path, {"knn": {**KNN, "k": 5}}) == ["knn"]


def test_a_renamed_probe_is_not_missing(tmp_path: Path) -> None:
    scored(tmp_path, "speech", KNN)
    assert store.missing_probes(tmp_path, {"neighbours": KNN}) == []


def test_a_score_is_the_mean_over_tasks(tmp_path: Path) -> None:
    scored(tmp_path, "speech", KNN, 40)
    scored(tmp_path, "music", KNN, 50)
    scored(tmp_path, "music", {**KNN, "k": 5}, 90)
    assert store.read_score(tmp_path, KNN, "mean") == 45
    assert store.read_score(tmp_path, KNN, "concat_freq") is None


def test_a_score_on_some_of_the_tasks_is_no_score(tmp_path: Path) -> None:
    scored(tmp_path, "speech", KNN, 40)
    scored(tmp_path, "speech", LINEAR, 50)
    scored(tmp_path, "music", LINEAR, 60)
    assert store.read_score(tmp_path, LINEAR, "mean") == 55
    assert store.read_score(tmp_path, KNN, "mean") is None
    elsewhere = {**KNN, "content": {"digest": "d", "tasks": ["speech", "music"]}}
    scored(tmp_path, "speech", elsewhere, 40)
    assert store.read_score(tmp_path, elsewhere, "mean") is None


def test_a_run_is_found_by_the_beginning_of_its_fingerprint(tmp_path: Path) -> None:
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
    found = store.get_folders({"ABLATE_RUNS": "/far/runs"})
    assert (found.runs, found.reports) == (Path("/far/runs"), Path("reports"))


def test_the_backlog_sorts_runs_by_what_is_left_to_do(tmp_path: Path) -> None:
    for name in ("done", "rescore"):
        record(tmp_path / name, state="done")
    scored(tmp_path / "done", "speech", KNN)
    record(tmp_path / "failed", state="failed", reason="nan")
    record(tmp_path / "cut", state="cancelled")
    record(tmp_path / "stale", state="running")
    runs = wanted("done", "rescore", "failed", "cut", "stale", "new")
    found = pending.find_pending(runs, tmp_path, {"knn": KNN})
    assert [run.fingerprint for run in found.start] == ["cut", "stale", "new"]
    assert [run.fingerprint for run in found.score] == ["rescore"]
    assert [run.fingerprint for run in found.done] == ["done"]
    assert [(run.fingerprint, reason) for run, reason in found.failed] == [("failed", "nan")]


def test_failed_runs_are_started_again_when_asked(tmp_path: Path) -> None:
    record(tmp_path / "failed", state="failed")
    found = pending.find_pending(wanted("failed"), tmp_path, {}, retry_failed=True)
    assert [run.fingerprint for run in found.start] == ["failed"]


def test_a_shared_run_is_wanted_once(tmp_path: Path) -> None:
    assert len(pending.find_pending(wanted("a", "a", "b"), tmp_path, {}).start) == 2


def test_references_are_run_after_trials(tmp_path: Path) -> None:
    runs = [*wanted("twin", kind="random_init"), *wanted("trial")]
    jobs = pending.find_pending(runs, tmp_path, {}).jobs(tmp_path, {})
    assert [job.folder.name for job in jobs] == ["trial", "twin"]


def test_jobs_have_their_config_on_disk(tmp_path: Path) -> None:
    (job,) = pending.find_pending(wanted("a"), tmp_path, {}).jobs(tmp_path, {})
    content = json.loads((job.folder / "config.json").read_text())
    assert content == {"kind": "jepa", "settings": {"seed": 0}}


def test_columns_are_aligned() -> None:
    assert run_status.align_columns([["a", "bb", ""], ["ccc", "d", "e"]]) == [
        "  a    bb",
        "  ccc  d   e",
    ]


def test_a_run_is_found_by_its_path_as_a_shell_completes_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    store.write_config(runs / "abc123", kind="jepa", settings={})
    for prefix in ("abc", "abc123", str(runs / "abc123"), f"{runs / 'abc123'}/"):
        assert store.find_run(runs, prefix) == runs / "abc123"
