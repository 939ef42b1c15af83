"""A try-out or a lesser report never replaces the report of a study."""

from pathlib import Path

import pytest

from ablate.core.records.findings import Findings, count_scored_trials
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import read_output, run

REPORT = Path("reports/masking")


def run_with(*overrides: str) -> int:
    return study.run_study(Path("study.yaml"), overrides, workers=2, command=STAND_IN)


def read_files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in REPORT.rglob("*") if path.is_file()}


def test_a_try_out_has_its_own_report(capsys: pytest.CaptureFixture[str], workdir: Path) -> None:
    run()
    before = read_files()
    assert run_with("seeds=1") == study.DONE
    assert "the report is reports/masking-try" in read_output(capsys)
    assert count_scored_trials(Path("reports/masking-try/findings.json")) == 2
    assert read_files() == before
    assert run_with("limits={trials: 9}") == study.DONE  # changes no result
    assert "masking-try" not in read_output(capsys)


def test_a_plan_with_fewer_trials_replaces_nothing_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], workdir: Path
) -> None:
    run()
    before, runs = read_files(), sorted(Path("runs").iterdir())
    assert run("seeds=1", "factors.masker.other.ratio=0.5") == study.WRONG
    message = capsys.readouterr().err
    assert "reports 4 finished trials" in message
    assert "at most 2" in message
    assert (read_files(), sorted(Path("runs").iterdir())) == (before, runs)
    assert run("seeds=1", force=True) == study.DONE
    assert count_scored_trials(REPORT / "findings.json") == 2


def test_a_report_is_not_written_from_fewer_runs_than_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workdir: Path
) -> None:
    run()
    before = read_files()
    monkeypatch.setenv("ABLATE_RUNS", str(workdir / "elsewhere"))
    assert study.report_saved_plan("masking") == study.WRONG
    assert study.report_study(Path("study.yaml"), command=STAND_IN) == study.WRONG
    assert "elsewhere has 0" in capsys.readouterr().err.replace("\n", "")
    assert read_files() == before
    assert study.report_saved_plan("masking", force=True) == study.DONE
    assert count_scored_trials(REPORT / "findings.json") == 0


def test_a_run_with_more_failures_keeps_the_report(
    capsys: pytest.CaptureFixture[str], workdir: Path
) -> None:
    run()
    before = (REPORT / "index.html").read_bytes()
    assert run("factors.masker.other={type: Fails}") == study.FAILED
    assert "--force" in read_output(capsys)
    assert (REPORT / "index.html").read_bytes() == before


def test_a_damaged_report_is_written_again(workdir: Path) -> None:
    run()
    (REPORT / "findings.json").write_text("{")
    assert run() == study.DONE
    assert Findings.read(REPORT / "findings.json").num_scored == 4
