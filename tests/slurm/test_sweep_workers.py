"""Workers of a sweep in the queue of a site of three scripts, as the console sees them."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ablate.cli import inspect as cli_inspect
from ablate.cli.main import app
from ablate.slurm import sweep_workers
from ablate.slurm.profile import Profile
from tests.slurm.scripted_site import lay

SCRIPTS = {
    "sbatch": "echo 7",
    "squeue": '[ -e cancelled ] || printf "7_%s|$4|PENDING|Priority\\n" 0 1',
    "scancel": 'echo "$@" > cancelled',
}


@pytest.fixture(autouse=True)
def _queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of which a cluster has taken no point yet: nothing but its workers is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{lay(tmp_path, SCRIPTS)}:{os.environ['PATH']}")
    folder = sweep_workers.folder_of(Path("reports"), "tuned")
    sweep_workers.enlist(Profile(name="full"), folder, "tuned-sweep", ["-m", "ablate.study"], 2, {})


def ablate(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_sweeps_workers_are_shown_before_there_is_a_plan() -> None:
    for words in (["status"], ["status", "tuned"]):
        said = ablate(*words).splitlines()
        assert said[0].startswith("tuned: ")
        assert said[1:] == [f"  a sweep's worker  job 7_{n}  PENDING Priority" for n in (0, 1)]


def test_status_watches_until_a_sweeps_workers_have_left_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli_inspect, "POLL_SECONDS", 0.0)
    squeue = Path("bin/squeue")
    squeue.write_text(f"{squeue.read_text()}[ ! -e asked ] || touch cancelled; touch asked\n")
    assert ablate("status", "tuned", "--watch").count("its sweep runs on a cluster") == 2


def test_status_watches_on_where_the_queue_once_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli_inspect, "POLL_SECONDS", 0.0)
    squeue = Path("bin/squeue")
    silent = "echo x >> asked; n=$(wc -l < asked); [ $n = 2 ] && exit 1; [ $n -gt 3 ] && exit 0\n"
    squeue.write_text(squeue.read_text().replace("\n", f"\n{silent}", 1))
    assert ablate("status", "tuned", "--watch").count("its sweep runs on a cluster") >= 2


def test_a_sweep_without_a_site_is_shown_without_a_word_of_its_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert len(ablate("status", "tuned").splitlines()) == 1


def test_a_sweeps_workers_are_cancelled() -> None:
    assert "cancelled 2 sweep workers" in ablate("cancel", "tuned", "--yes")
    assert Path("cancelled").read_text() == "7_0 7_1\n"
    assert "this study has no queued jobs" in ablate("cancel", "tuned", "--yes")
