"""Commands that read or change run folders and reports, run as subprocesses."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ablate.config.search_space import Point
from ablate.core.io import write_json
from ablate.core.records.metrics_log import format_line
from ablate.core.records.run import FAILURE_KINDS, CodeVersion
from ablate.runs.store import write_config
from ablate.slurm import queue as slurm_queue
from ablate.slurm.queue import SubmittedJob
from ablate.sweep import recovery
from tests.command import ABLATE, ablate
from tests.plans import make_entry, make_plan
from tests.run_folders import write_record, write_score

ROOT = Path(__file__).parents[2]
KNN = {"type": "KNN", "k": 10}
IDLE = "nothing has run for 0.1 s; to go on: ablate run studies/masking.yaml seeds=2\n"
TIMEOUT = 120.0  # seconds for a command that runs until a condition holds


@contextmanager
def start(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command that keeps running; kills it after a timeout and at the end."""
    with subprocess.Popen([*ABLATE, *arguments], stdout=subprocess.PIPE) as process:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates a study of three trials, one of them failed, and two runs of no study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    plan = make_plan(
        *(make_entry(name, levels={"m": name}) for name in ("done", "failed", "open")),
        file="studies/masking.yaml",
        overrides=("seeds=2",),
        probes={"knn": KNN},
    )
    plan.write(plan.file_in(Path("reports")))
    for name, state in (("done", "done"), ("failed", "failed"), ("old", "cancelled")):
        write_config(Path("runs", name), kind="jepa", settings={})
        write_record(Path("runs", name), state, "oom: of memory")
    write_config(Path("runs/keep"), kind="jepa", settings={})
    write_record(Path("runs/keep"), "done")
    write_score(Path("runs/done"), "speech", KNN, mean={"valid": 41.0, "test": 77.0})


def write(path: str, content: Any) -> None:
    write_json(Path(path), content)


def list_runs() -> list[str]:
    return sorted(path.name for path in Path("runs").iterdir())


def test_status_shows_validation_scores_and_no_test_scores() -> None:
    text = ablate("status", "masking").stdout
    assert "41.0" in text
    assert "77" not in text


def test_status_marks_results_of_another_commit() -> None:
    write_record(Path("runs/done"), "done", code=CodeVersion(commit="0" * 40, dirty=False))
    assert "  1 results come from commit 0000000000 (now at " in ablate("status").stdout


def test_status_prints_json() -> None:
    [states] = json.loads(ablate("status", "--json").stdout)
    assert states["counts"] == {"planned": 1, "done": 1, "failed": 1}
    assert [trial["state"] for trial in states["trials"]] == ["done", "failed", "planned"]


def test_status_accepts_the_file_of_a_study() -> None:
    Path("question.yaml").write_text("study: masking\n")
    assert ablate("status", "question.yaml").stdout.startswith("masking: ")


def test_status_watches_until_all_runs_have_ended() -> None:
    with start("status", "--watch") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith(b"masking: 1 planned")
        write_record(Path("runs/open"), "done")
        assert watching.wait() == 0


def test_status_stops_watching_if_nothing_runs() -> None:
    done = ablate("status", "--watch", "--idle", "0.1")
    assert done.returncode == 0
    assert "1 planned" in done.stdout
    assert done.stdout.endswith(IDLE)


def test_status_stops_watching_a_run_queued_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs/open").mkdir()
    slurm_queue.record_job(Path("runs/open"), SubmittedJob("7_0", "study-1", "logs/7_0_0_log.out"))
    monkeypatch.setenv("PATH", str(tmp_path))  # a PATH without squeue
    assert ablate("status", "--watch", "--idle", "0.1").stdout.endswith(IDLE)


def test_logs_follow_a_run_to_its_end() -> None:
    folder = Path("runs/open")
    write_config(Path("runs/open"), kind="jepa", settings={})
    (folder / "attempts" / "001").mkdir(parents=True)
    (folder / "attempts" / "001" / "log.txt").write_text("attempt 1\n")
    with start("logs", "-f", "open") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"attempt 1\n"
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(format_line({"step": 7, "loss": 0.5}))
        assert following.stdout.readline() == b"step 7  loss 0.5\n"
        write_record(Path("runs/open"), "done")
        assert following.wait() == 0


@pytest.mark.parametrize("state", ["planned", "preempted"])
def test_logs_stop_following_a_run_that_nothing_runs(state: str) -> None:
    write_config(Path("runs/open"), kind="jepa", settings={})
    if state == "preempted":
        write_record(Path("runs/open"), "preempted", "SIGUSR2 at step 3")
    done = ablate("logs", "-f", "open", "--idle", "0.1")
    assert (done.returncode, done.stdout) == (0, IDLE)


def test_logs_follow_a_preempted_run_that_resumes() -> None:
    write_config(Path("runs/open"), kind="jepa", settings={})
    write_record(Path("runs/open"), "preempted", "SIGUSR2 at step 3")
    write("runs/open/attempts/001/log.txt", "attempt 1")
    with start("logs", "-f", "open") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b'"attempt 1"\n'
        for step in (7, 8):  # before the second, it has checked the state
            with Path("runs/open/metrics.jsonl").open("a") as file:
                file.write(format_line({"step": step, "loss": 0.5}))
            assert following.stdout.readline() == f"step {step}  loss 0.5\n".encode()
        write_record(Path("runs/open"), "done")
        assert following.wait() == 0


@pytest.mark.parametrize(
    ("command", "record"),
    [
        *product(
            ["logs -f failed", "retry masking", "clean --done --yes", "show failed"],
            ["{}", '{"state": "done"}'],
        ),
    ],
)
def test_a_record_of_another_version_is_an_error_with_the_remedy(command: str, record: str) -> None:
    name = "old" if command.startswith("clean") else "failed"
    Path(f"runs/{name}/run.json").write_text(record)
    done = ablate(*command.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"runs/{name}/run.json ")
    assert "delete the run folder, or set ABLATE_RUNS" in done.stderr


@pytest.mark.parametrize("record", ['{"state": ', "[]", ""])
def test_a_damaged_record_stops_no_command(record: str) -> None:
    Path("runs/failed/run.json").write_text(record)
    for command in ("status masking", "retry masking", "show failed"):
        assert ablate(*command.split()).returncode == 0


def test_retry_resets_only_failures_of_the_named_kind() -> None:
    assert ablate("retry", "masking", "nan").stdout.startswith("0 runs")
    assert ablate("retry", "masking", "oom").stdout.splitlines()[-1].startswith("1 runs")
    assert json.loads(Path("runs/failed/run.json").read_text())["state"] == "cancelled"


def test_an_unknown_kind_of_failure_is_an_error_with_a_suggestion() -> None:
    done = ablate("retry", "masking", "omm")
    assert (done.returncode, done.stderr) == (
        2,
        "unknown kind of failure `omm` (did you mean `oom`?): it is one of "
        "oom, nan, collapsed, timeout, node, error, failed\n",
    )


def test_clean_deletes_unused_runs_and_keeps_finished_ones() -> None:
    assert "deleted 1 run folders" in ablate("clean", "--yes").stdout
    assert list_runs() == ["done", "failed", "keep"]


def test_clean_deletes_unused_finished_runs_with_done() -> None:
    ablate("clean", "--done", "--yes")
    assert list_runs() == ["done", "failed"]


@pytest.mark.parametrize("name", ["tuned: block (1a2b3c)", "tuned (1a2b3c)"])
def test_clean_keeps_the_runs_of_a_sweep_while_its_report_folder_exists(
    name: str,
) -> None:
    point = Point(0, {"rate": 0.1}, [], {})
    recovery.record_point(Path("runs"), name, point, ["old", "keep"])
    write("reports/tuned/optuna.journal", "")
    ablate("clean", "--done", "--yes")
    assert list_runs() == ["done", "failed", "keep", "old"]
    shutil.rmtree("reports/tuned")
    ablate("clean", "--done", "--yes")
    assert list_runs() == ["done", "failed"]


def test_clean_requires_confirmation() -> None:
    done = subprocess.run([*ABLATE, "clean"], input="n\n", capture_output=True, text=True)
    assert "delete these 1 run folders?" in done.stdout
    assert "old" in list_runs()


def test_show_prints_a_run_as_json() -> None:
    content = json.loads(ablate("show", "failed").stdout)
    assert content["run"]["reason"] == "oom: of memory"


@pytest.mark.parametrize("command", ["run", "plan", "report"])
def test_a_missing_study_file_is_an_error_with_a_suggestion(command: str) -> None:
    Path("question.yaml").write_text("study: masking\n")
    done = ablate(command, "questoin.yaml")
    assert done.returncode == 2
    assert done.stderr == "questoin.yaml: no such file (did you mean `question.yaml`?)\n"


def test_an_unknown_command_is_an_error_with_a_suggestion() -> None:
    done = ablate("staus")
    assert done.returncode == 2
    assert "status" in done.stderr


def test_the_help_of_retry_lists_every_kind_of_failure() -> None:
    text = " ".join(ablate("retry", "--help").stdout.replace("│", " ").split())
    assert f"failure: {', '.join(FAILURE_KINDS)}." in text


def test_doctor_starts_a_worker() -> None:
    done = ablate("doctor")
    assert "a worker starts: torch" in done.stdout
    assert "attention on " in done.stdout


def test_publishing_a_report_without_findings_is_an_error() -> None:
    done = ablate("publish", "masking")
    assert done.returncode == 2
    assert done.stderr.startswith("reports/masking contains no findings.json")
    assert not Path("studies").exists()


def test_publish_rewrites_the_page_of_results() -> None:
    Path("results").mkdir()
    done = ablate("publish", "--results", "results")
    assert (done.returncode, done.stdout) == (0, "wrote results/README.md: \n")
    assert Path("results/README.md").read_text().startswith("# Results")
