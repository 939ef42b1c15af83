"""The front door against a stand-in for the worker: what is run, said, and answered."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate import study
from ablate.reporting.results import read
from ablate.reporting.verdicts import verdicts

ROOT = Path(__file__).parents[1]
STAND_IN = (sys.executable, str(ROOT / "tests" / "launching" / "stand_in.py"))
STUDY = """\
# Does it matter?
study: masking
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good}
    other: {type: Other, ratio: 0.4}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""
ENTRY = """\
import sys
from pathlib import Path
from ablate import study
from ablate.reporting.results import read
from ablate.reporting.verdicts import verdicts
study.listen_for_endings()
sys.exit(study.run(Path("study.yaml"), command=sys.argv[1:], workers=1))
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    Path("study.yaml").write_text(STUDY)
    return tmp_path


def run(*overrides: str, retry_failed: bool = False) -> int:
    return study.run(
        Path("study.yaml"), overrides, workers=2, retry_failed=retry_failed, command=STAND_IN
    )


def trainings() -> list[str]:
    """One line for every time that a run folder was trained, references included."""
    files = Path("runs").glob("*/trainings")
    return [line for file in files for line in file.read_text().splitlines()]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_study_runs_its_trials_and_shared_references_once(desk: Path) -> None:
    assert run() == study.DONE
    kinds = [json.loads(file.read_text())["kind"] for file in Path("runs").glob("*/config.json")]
    assert sorted(kinds) == ["jepa"] * 4 + ["mel_statistics"] + ["random_init"] * 2
    assert len(trainings()) == 7


def test_a_study_ends_with_its_report(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert said(capsys).rstrip().endswith("reports/masking/index.html")
    assert Path("reports/masking/report.md").read_text().startswith("# Does it matter?")


def test_a_clip_that_was_skipped_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  skipped c.wav: no audio\n" in said(capsys)


def test_a_clip_that_is_silent_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  1 silent: d.wav\n" in said(capsys)


def written() -> dict[str, bytes]:
    """The report, page and tables, without the pictures of masks."""
    files = Path("reports/masking").rglob("*.*")
    return {str(f): f.read_bytes() for f in files if f.suffix in (".md", ".csv", ".html", ".tex")}


def test_a_report_is_written_again_from_files_alone(desk: Path) -> None:
    run()
    before = written()
    for file in before:
        Path(file).unlink()
    assert study.report_again("masking") == study.DONE
    assert written() == before != {}
    shutil.rmtree("reports")
    assert study.report(Path("study.yaml"), command=STAND_IN) == study.DONE
    assert written() == before


def test_a_plan_for_machines_is_json(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.show(Path("study.yaml"), as_json=True, command=STAND_IN) == study.DONE
    plan = json.loads(said(capsys))
    assert plan["backlog"]["trainings"] == len(plan["trials"]) == 4


@pytest.mark.parametrize("limit", ["trials: 3", "disk_gb: 1.0e-6"])
def test_a_study_over_its_limits_is_planned_and_not_started(
    desk: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    assert run(f"limits={{{limit}}}") == study.OVER
    assert f"`limits.{limit.split(':')[0]}` is " in capsys.readouterr().err
    assert not Path("runs").exists()
    assert study.show(Path("study.yaml"), [f"limits={{{limit}}}"], command=STAND_IN) == study.OVER


def test_a_study_within_its_limits_is_run(desk: Path) -> None:
    assert run("limits={trials: 4, hours: 1}") == study.DONE
    assert run("limits={trials: 0}") == study.DONE  # nothing is left to train


def test_hours_are_expected_from_what_is_done(desk: Path) -> None:
    run()
    for file in Path("runs").glob("*/run.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "cost": {"seconds": 1800}}))
    assert run("seeds=4", "limits={hours: 1.9}") == study.OVER  # four more of half an hour
    assert run("seeds=4", "limits={hours: 2.1}") == study.DONE


def test_a_plan_says_which_difference_its_seeds_would_see(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.show(Path("study.yaml"), ["seeds=3"], command=STAND_IN) == study.DONE
    line = "3 seeds see a difference of 3.3 standard deviations of a paired difference in 4 of 5"
    assert line in said(capsys)


HOLES = """\
study: masking
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
  budget: {steps: 1}
factors:
  masker: {good: {type: Good}, other: {type: Other}}
  budget.steps: [1, 2]
  patchifier: {squares: {type: Squares}, strips: {type: Strips}}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""


@pytest.mark.parametrize(
    ("text", "cells", "contrasts"),
    [
        ("design: one_factor", 4, 3),
        ("design: leave_one_out", 4, 3),
        ("when: {budget.steps: {masker: other}}", 6, 3 + 2 + 2 + 3),  # pooled, and within
        ("design: list\nvariants: [{masker: other}, {masker: other, budget.steps: 2}]", 3, 2),
        ("exclude: [{masker: other, budget.steps: 2}]", 6, 3 + 2 + 2 + 3),
    ],
    ids=["one_factor", "leave_one_out", "when", "list", "exclude"],
)
def test_a_design_with_holes_contrasts_levels_where_both_are(
    desk: Path, text: str, cells: int, contrasts: int
) -> None:
    Path("study.yaml").write_text(f"{HOLES}{text}\n")
    assert run() == study.DONE
    plan = json.loads(Path("reports/masking/plan.json").read_text())
    assert len(plan["trials"]) == 2 * cells
    found = verdicts(read(plan, Path("runs")))
    asked = [verdict.contrast for verdict in found if verdict.contrast.family != "learning"]
    assert len(asked) == contrasts
    assert all(pair.matched for contrast in asked for pair in contrast.pairs)
    assert any(verdict.contrast.family == "learning" for verdict in found)


def test_every_finished_trial_is_said_with_its_score(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    lines = [line for line in said(capsys).splitlines() if line.startswith("[")]
    assert len(lines) == 7
    assert (
        sum(
            "good, seed 0: trained in" in line and "validation score 41.0" in line for line in lines
        )
        == 1
    )


def test_a_second_time_nothing_is_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    said(capsys)
    assert run() == study.DONE
    assert "0 trials to run, 4 done, 0 failed, of 4" in said(capsys)
    assert len(trainings()) == 7


def test_a_changed_probe_scores_again_and_trains_nothing(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    said(capsys)
    assert run("probes.knn.k=5") == study.DONE
    text = said(capsys)
    assert "0 trainings, 7 re-scores, 0 references" in text
    assert "good, seed 0: scored in" in text
    assert len(trainings()) == 7


def test_another_seed_runs_what_it_adds(desk: Path) -> None:
    run()
    before = len(trainings())
    run("seeds=3")
    assert len(trainings()) - before == 3


def test_a_failed_trial_is_named_and_the_others_go_on(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("factors.masker.other={type: Fails}") == study.FAILED
    text = said(capsys)
    assert "failed: other, seed 1 (" in text
    assert "): nan: at step 7" in text
    assert len(trainings()) == 7


def test_a_failed_trial_is_not_run_again_unasked(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("factors.masker.other={type: Fails}")
    said(capsys)
    assert run("factors.masker.other={type: Fails}") == study.FAILED
    text = said(capsys)
    assert "0 trials to run, 2 done, 2 failed, of 4" in text
    assert "failed before: other, seed 0" in text
    assert len(trainings()) == 7


def test_a_failed_trial_is_run_again_when_asked(desk: Path) -> None:
    run("factors.masker.other={type: Fails}")
    run("factors.masker.other={type: Fails}", retry_failed=True)
    assert len(trainings()) == 9


def test_problems_of_probes_and_trials_are_told_at_once(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("probes.knn.k=0", "factors.masker.other.ratio=2") == study.WRONG
    assert capsys.readouterr().err.splitlines() == [
        "command line: `probes.knn.k`: must be at least 1, got 0",
        "command line: `masker.ratio`: must be at most 1 (in other)",
    ]


def test_a_problem_of_a_part_is_told_with_its_line(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text(STUDY.replace("0.4", "4"))
    assert run() == study.WRONG
    expected = "study.yaml:10: `masker.ratio`: must be at most 1 (in other)\n"
    assert capsys.readouterr().err == expected


def test_a_wrong_study_writes_nothing(desk: Path) -> None:
    assert run("factors.masker.other.ratio=2") == study.WRONG
    assert [path.name for path in desk.iterdir()] == ["study.yaml"]


def test_a_worker_that_does_not_start_is_reported(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run(Path("study.yaml"), command=(*STAND_IN, "--broken")) == study.FAILED
    assert "exit code 1): no module named `my_lab`" in capsys.readouterr().err


def test_masks_are_drawn_once(desk: Path) -> None:
    run()
    pictures = sorted(Path("reports/masking/gallery").glob("*.png"))
    assert [path.name for path in pictures] == ["good--baseline.png", "other--baseline.png"]
    pictures[0].write_bytes(b"as it was")
    run()
    assert pictures[0].read_bytes() == b"as it was"


def test_a_plan_shows_everything_and_runs_nothing(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.show(Path("study.yaml"), command=STAND_IN) == study.DONE
    text = said(capsys)
    assert "4 trials to run, 0 done, 0 failed, of 4" in text
    assert "    masker.type: Good -> Other\n" in text
    assert text.count(" planned") == 4
    assert "MB when all is done" in text or "kB when all is done" in text
    assert not Path("runs").exists()


def interrupted(number: signal.Signals, desk: Path) -> subprocess.CompletedProcess[str]:
    """Starts a study whose trials last, and sends it a signal once one is under way."""
    Path("study.yaml").write_text(STUDY.replace("type: Other", "type: Sleeps"))
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *STAND_IN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(trainings()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_study_keeps_what_is_done(desk: Path, number: signal.Signals) -> None:
    done = interrupted(number, desk)
    assert done.returncode == study.INTERRUPTED
    assert "To go on: python -m ablate.study study.yaml" in done.stderr
    states = [json.loads(file.read_text())["state"] for file in Path("runs").glob("*/run.json")]
    assert sorted(states) == ["cancelled", "done"]


def test_an_interrupted_study_leaves_no_worker_behind(desk: Path) -> None:
    interrupted(signal.SIGINT, desk)
    for pid in {int(line.split()[0]) for line in trainings()}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
