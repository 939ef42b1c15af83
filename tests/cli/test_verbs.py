"""What the verbs change and write, run as a user runs them."""

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
from ablate.core.records.run import FAILURE_KINDS, CodeVersion
from ablate.report.pages.publish import BEGIN, END
from ablate.runs.store import write_config
from ablate.slurm import queue as slurm_queue
from ablate.slurm.queue import Submitted
from ablate.sweep import recovery
from tests.command import ABLATE, ablate
from tests.run_folders import write_record, write_score

ROOT = Path(__file__).parents[2]
KNN = {"type": "KNN", "k": 10}
IDLE = "nothing has run for 0.1 s; to go on: ablate run studies/masking.yaml seeds=2\n"
SECONDS = 120.0  # for a verb that goes on by itself to end


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a verb that goes on; it is killed when it takes too long, and at the end."""
    with subprocess.Popen([*ABLATE, *arguments], stdout=subprocess.PIPE) as process:
        late = threading.Timer(SECONDS, process.kill)
        late.start()
        try:
            yield process
        finally:
            late.cancel()
            process.kill()


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of three trials, one of them failed; and two runs that no study refers to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    plan = {
        "study": "masking",
        "file": "studies/masking.yaml",
        "overrides": ["seeds=2"],
        "probes": {"knn": KNN},
        "score": {"probe": "knn", "pooling": "mean"},
        "trials": [
            {"fingerprint": name, "twin": "t", "statistics": "s", "levels": {"m": name}, "seed": 0}
            for name in ("done", "failed", "open")
        ],
    }
    write("reports/masking/plan.json", plan)
    for name, state in (("done", "done"), ("failed", "failed"), ("old", "cancelled")):
        write_config(Path("runs", name), kind="jepa", settings={})
        write_record(Path("runs", name), state, "oom: of memory")
    write_config(Path("runs/keep"), kind="jepa", settings={})
    write_record(Path("runs/keep"), "done")
    write_score(Path("runs/done"), "speech", KNN, mean={"valid": 41.0, "test": 77.0})


def write(path: str, content: Any) -> None:
    write_json(Path(path), content)


def runs() -> list[str]:
    return sorted(path.name for path in Path("runs").iterdir())


def test_status_shows_validation_scores_and_keeps_the_test_part_shut() -> None:
    text = ablate("status", "masking").stdout
    assert "41.0" in text
    assert "77" not in text


def test_results_that_other_code_has_made_are_marked() -> None:
    write_record(Path("runs/done"), "done", code=CodeVersion(commit="0" * 40, dirty=False))
    assert "  1 done by other code: commit 0000000000; this is " in ablate("status").stdout


def test_status_for_machines_is_json() -> None:
    [found] = json.loads(ablate("status", "--json").stdout)
    assert found["counts"] == {"planned": 1, "done": 1, "failed": 1}
    assert [trial["state"] for trial in found["trials"]] == ["done", "failed", "planned"]


def test_status_takes_a_study_by_its_file() -> None:
    Path("question.yaml").write_text("study: masking\n")
    assert ablate("status", "question.yaml").stdout.startswith("masking: ")


def test_status_watches_until_all_has_ended() -> None:
    with started("status", "--watch") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith(b"masking: 1 planned")
        write_record(Path("runs/open"), "done")
        assert watching.wait() == 0


def test_status_watches_no_longer_where_nobody_runs_what_is_left() -> None:
    done = ablate("status", "--watch", "--idle", "0.1")
    assert done.returncode == 0
    assert "1 planned" in done.stdout
    assert done.stdout.endswith(IDLE)


def test_status_watches_no_longer_where_a_run_was_once_in_the_queue_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs/open").mkdir()
    slurm_queue.remember(Path("runs/open"), Submitted("7_0", "study-1", "logs/7_0_0_log.out"))
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no squeue
    assert ablate("status", "--watch", "--idle", "0.1").stdout.endswith(IDLE)


def test_logs_follow_a_run_to_its_end() -> None:
    folder = Path("runs/open")
    write_config(Path("runs/open"), kind="jepa", settings={})
    (folder / "attempts" / "001").mkdir(parents=True)
    (folder / "attempts" / "001" / "log.txt").write_text("attempt 1\n")
    with started("logs", "-f", "open") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"attempt 1\n"
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 7, "loss": 0.5}\n')
        assert following.stdout.readline() == b"step 7  loss 0.5\n"
        write_record(Path("runs/open"), "done")
        assert following.wait() == 0


@pytest.mark.parametrize("state", ["planned", "preempted"])
def test_logs_follow_a_run_no_longer_where_nobody_runs_it(state: str) -> None:
    write_config(Path("runs/open"), kind="jepa", settings={})
    if state == "preempted":
        write_record(Path("runs/open"), "preempted", "SIGUSR2 at step 3")
    done = ablate("logs", "-f", "open", "--idle", "0.1")
    assert (done.returncode, done.stdout) == (0, IDLE)


def test_logs_follow_a_run_that_its_job_takes_up_again() -> None:
    write_config(Path("runs/open"), kind="jepa", settings={})
    write_record(Path("runs/open"), "preempted", "SIGUSR2 at step 3")
    write("runs/open/attempts/001/log.txt", "attempt 1")
    with started("logs", "-f", "open") as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b'"attempt 1"\n'
        for step in (7, 8):  # by the second, it has looked at the state
            with Path("runs/open/metrics.jsonl").open("a") as file:
                file.write(f'{{"step": {step}, "loss": 0.5}}\n')
            assert following.stdout.readline() == f"step {step}  loss 0.5\n".encode()
        write_record(Path("runs/open"), "done")
        assert following.wait() == 0


@pytest.mark.parametrize(
    ("verb", "record"),
    [
        *product(
            ["logs -f failed", "retry masking", "clean --done --yes", "show failed"],
            ['{"state": ', "{}", "[]", '{"state": "done"}'],
        ),
    ],
)
def test_a_damaged_record_is_refused_with_the_way_out(verb: str, record: str) -> None:
    name = "old" if verb.startswith("clean") else "failed"
    Path(f"runs/{name}/run.json").write_text(record)
    done = ablate(*verb.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"runs/{name}/run.json ")
    remedy = "delete the run folder, or set ABLATE_RUNS" if "}" in record else "delete it and run"
    assert remedy in done.stderr


def test_only_failures_of_the_kind_that_is_named_are_tried_again() -> None:
    assert ablate("retry", "masking", "nan").stdout.startswith("0 runs")
    assert ablate("retry", "masking", "oom").stdout.splitlines()[-1].startswith("1 runs")
    assert json.loads(Path("runs/failed/run.json").read_text())["state"] == "cancelled"


def test_an_unknown_kind_of_failure_is_refused_with_a_suggestion() -> None:
    done = ablate("retry", "masking", "omm")
    assert (done.returncode, done.stderr) == (
        2,
        "unknown kind of failure `omm` (did you mean `oom`?): it is one of "
        "oom, nan, collapsed, timeout, node, error, failed\n",
    )


def test_clean_deletes_what_no_study_refers_to_and_keeps_what_is_done() -> None:
    assert "deleted 1 run folders" in ablate("clean", "--yes").stdout
    assert runs() == ["done", "failed", "keep"]


def test_clean_deletes_what_is_done_when_asked() -> None:
    ablate("clean", "--done", "--yes")
    assert runs() == ["done", "failed"]


@pytest.mark.parametrize("name", ["tuned: block (1a2b3c)", "tuned (1a2b3c)"])
def test_clean_keeps_what_a_sweep_has_asked_for_as_long_as_its_report_folder_is_there(
    name: str,
) -> None:
    point = Point(0, {"rate": 0.1}, [], {})
    recovery.record_point(Path("runs"), name, point, ["old", "keep"])
    write("reports/tuned/optuna.journal", "")
    ablate("clean", "--done", "--yes")
    assert runs() == ["done", "failed", "keep", "old"]
    shutil.rmtree("reports/tuned")
    ablate("clean", "--done", "--yes")
    assert runs() == ["done", "failed"]


def test_clean_asks_first() -> None:
    done = subprocess.run([*ABLATE, "clean"], input="n\n", capture_output=True, text=True)
    assert "delete these 1 run folders?" in done.stdout
    assert "old" in runs()


def test_show_prints_a_run_as_json() -> None:
    found = json.loads(ablate("show", "failed").stdout)
    assert found["run"]["reason"] == "oom: of memory"


@pytest.mark.parametrize("verb", ["run", "plan", "report"])
def test_a_study_that_is_not_there_is_refused_with_a_suggestion(verb: str) -> None:
    Path("question.yaml").write_text("study: masking\n")
    done = ablate(verb, "questoin.yaml")
    assert done.returncode == 2
    assert done.stderr == "questoin.yaml: no such file (did you mean `question.yaml`?)\n"


def test_a_mistyped_verb_is_told_the_nearest() -> None:
    done = ablate("staus")
    assert done.returncode == 2
    assert "status" in done.stderr


def test_the_help_of_retry_names_every_kind_of_failure() -> None:
    text = " ".join(ablate("retry", "--help").stdout.replace("│", " ").split())
    assert f"failure: {', '.join(FAILURE_KINDS)}." in text


def test_this_machine_is_examined() -> None:
    done = ablate("doctor")
    assert "a worker starts: torch" in done.stdout


def test_publish_copies_nothing_where_the_readme_cannot_list_it() -> None:
    done = ablate("publish", "masking")
    assert done.returncode == 2
    assert done.stderr.startswith("README.md must have one line")
    assert not Path("studies/results").exists()


def test_publish_refuses_what_has_no_findings() -> None:
    Path("README.md").write_text(f"{BEGIN}\n{END}\n")
    done = ablate("publish", "masking")
    assert done.returncode == 2
    assert done.stderr.startswith("reports/masking holds no findings.json")
    assert not Path("studies").exists()


def test_publish_lists_what_is_kept_in_the_readme() -> None:
    Path("results").mkdir()
    text = "Before.\n<!-- results: written by `ablate publish` -->\n<!-- end of results -->\n"
    Path("R.md").write_text(text)
    done = ablate("publish", "--results", "results", "--readme", "R.md")
    assert (done.returncode, done.stdout) == (0, "wrote R.md and results/README.md: \n")
    assert Path("R.md").read_text().startswith("Before.\n<!-- results")
