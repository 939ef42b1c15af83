"""Running a study with a simulated worker: which runs it starts, and what it prints."""

import json
import shutil
from pathlib import Path

import pytest

from ablate.core.records.plan import StudyPlan
from ablate.report.results import read_results
from ablate.report.stats.verdicts import compute_verdicts
from ablate.slurm.options import SlurmOptions
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import read_output, run, trainings


def test_a_study_runs_its_trials_and_shared_references_once(workdir: Path) -> None:
    assert run() == study.DONE
    kinds = [json.loads(file.read_text())["kind"] for file in Path("runs").glob("*/config.json")]
    assert sorted(kinds) == ["jepa"] * 4 + ["mel_statistics"] + ["random_init"] * 2
    assert len(trainings()) == 7


def test_a_study_ends_with_its_report(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert read_output(capsys).rstrip().endswith("reports/masking/index.html")
    assert Path("reports/masking/report.md").read_text().startswith("# Does it matter?")


def test_a_study_that_a_cluster_has_finished_ends_with_its_report(workdir: Path) -> None:
    run("seeds=1")
    shutil.rmtree("reports")
    Path("slurm").mkdir()
    Path("slurm/gpu.yaml").write_text("canary: false\n")
    file, options = Path("study.yaml"), SlurmOptions("gpu")
    assert (
        study.run_study(file, ["seeds=1", "study=masking"], slurm=options, command=STAND_IN)
        == study.DONE
    )
    assert Path("reports/masking/report.md").is_file()


def test_a_skipped_clip_is_reported(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  skipped c.wav: no audio\n" in read_output(capsys)


def test_a_silent_clip_is_reported(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  1 silent: d.wav\n" in read_output(capsys)


def read_report_files() -> dict[str, bytes]:
    """Returns the report, page and tables, without the pictures of masks."""
    files = Path("reports/masking").rglob("*.*")
    return {str(f): f.read_bytes() for f in files if f.suffix in (".md", ".csv", ".html", ".tex")}


def test_a_report_can_be_rebuilt_from_the_run_folders(workdir: Path) -> None:
    run()
    before = read_report_files()
    for file in before:
        Path(file).unlink()
    assert study.report_saved_plan("masking") == study.DONE
    assert read_report_files() == before != {}
    shutil.rmtree("reports")
    assert study.report_study(Path("study.yaml"), command=STAND_IN) == study.DONE
    assert read_report_files() == before


INCOMPLETE = """\
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
def test_an_incomplete_design_compares_levels_where_both_were_run(
    workdir: Path, text: str, cells: int, contrasts: int
) -> None:
    Path("study.yaml").write_text(f"{INCOMPLETE}{text}\n")
    assert run() == study.DONE
    plan = StudyPlan.read(Path("reports/masking/plan.json"))
    assert len(plan.trials) == 2 * cells
    verdicts = compute_verdicts(read_results(plan, Path("runs")))
    compared = [v.contrast for v in verdicts if v.contrast.family in ("pooled", "within")]
    assert len(compared) == contrasts
    assert all(pair.paired_values for contrast in compared for pair in contrast.pairs)
    assert any(verdict.contrast.family == "learning" for verdict in verdicts)


def test_every_finished_trial_is_printed_with_its_score(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    lines = [line for line in read_output(capsys).splitlines() if line.startswith("[")]
    assert len(lines) == 7
    assert (
        sum(
            "good, seed 0: trained in" in line and "validation score 41.0" in line for line in lines
        )
        == 1
    )


def test_a_variant_named_like_a_reference_is_scored_as_a_trial(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("study.yaml")
    file.write_text(file.read_text().replace("good:", "mel_statistics:"))
    run("seeds=1")
    [line] = [
        line for line in read_output(capsys).splitlines() if "mel_statistics, seed 0: " in line
    ]
    assert line.endswith("validation score 41.0")


def test_a_finished_study_runs_nothing_again(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    read_output(capsys)
    assert run() == study.DONE
    assert "0 trials to run, 4 done, 0 failed, of 4" in read_output(capsys)
    assert len(trainings()) == 7


def test_a_changed_probe_scores_again_and_trains_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    read_output(capsys)
    assert run("probes.knn.k=5") == study.DONE
    text = read_output(capsys)
    assert "0 trainings, 7 re-scores, 0 references" in text
    assert "good, seed 0: scored in" in text
    assert len(trainings()) == 7


def test_a_further_seed_runs_only_its_trials(workdir: Path) -> None:
    run()
    before = len(trainings())
    run("seeds=3")
    assert len(trainings()) - before == 3


def test_masks_are_drawn_once(workdir: Path) -> None:
    run()
    pictures = sorted(Path("reports/masking/gallery").glob("*.png"))
    assert [path.name for path in pictures] == ["good--baseline.png", "other--baseline.png"]
    pictures[0].write_bytes(b"as it was")
    run()
    assert pictures[0].read_bytes() == b"as it was"


def test_a_finished_study_shows_its_report_without_drawing_it_until_a_score_changes(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    files = {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()}
    page = Path("reports/masking/index.html")
    written = page.stat().st_mtime_ns
    first = read_output(capsys)
    assert run() == study.DONE
    again = read_output(capsys)
    verdicts = [line for line in first.splitlines() if line.startswith("undecided")]
    assert verdicts
    assert set(verdicts) <= set(again.splitlines())
    assert "nothing has changed since this report was written" in again
    assert page.stat().st_mtime_ns == written
    assert {path: path.read_bytes() for path in files} == files

    assert run(force=True) == study.DONE
    assert page.stat().st_mtime_ns > written
    assert page.read_bytes() == files[page]

    read_output(capsys)
    record = sorted(Path("runs").glob("*/probes/*/*.json"))[0]
    record.write_bytes(record.read_bytes()[:-9])
    run()
    assert "nothing has changed" not in read_output(capsys)
