"""The front door against a stand-in for the worker: what is run, said, and answered."""

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
from tests.study.conftest import run, said, trainings


def test_a_study_runs_its_trials_and_shared_references_once(workdir: Path) -> None:
    assert run() == study.DONE
    kinds = [json.loads(file.read_text())["kind"] for file in Path("runs").glob("*/config.json")]
    assert sorted(kinds) == ["jepa"] * 4 + ["mel_statistics"] + ["random_init"] * 2
    assert len(trainings()) == 7


def test_a_study_ends_with_its_report(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert said(capsys).rstrip().endswith("reports/masking/index.html")
    assert Path("reports/masking/report.md").read_text().startswith("# Does it matter?")


def test_a_study_of_which_a_cluster_has_run_all_ends_with_its_report(workdir: Path) -> None:
    run("seeds=1")
    shutil.rmtree("reports")
    Path("slurm").mkdir()
    Path("slurm/gpu.yaml").write_text("canary: false\n")
    file, options = Path("study.yaml"), SlurmOptions("gpu")
    assert study.run_study(file, ["seeds=1"], slurm=options, command=STAND_IN) == study.DONE
    assert Path("reports/masking/report.md").is_file()


def test_a_clip_that_was_skipped_is_said(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  skipped c.wav: no audio\n" in said(capsys)


def test_a_clip_that_is_silent_is_said(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    assert "  1 silent: d.wav\n" in said(capsys)


def written() -> dict[str, bytes]:
    """The report, page and tables, without the pictures of masks."""
    files = Path("reports/masking").rglob("*.*")
    return {str(f): f.read_bytes() for f in files if f.suffix in (".md", ".csv", ".html", ".tex")}


def test_a_report_is_written_again_from_files_alone(workdir: Path) -> None:
    run()
    before = written()
    for file in before:
        Path(file).unlink()
    assert study.report_saved_plan("masking") == study.DONE
    assert written() == before != {}
    shutil.rmtree("reports")
    assert study.report_study(Path("study.yaml"), command=STAND_IN) == study.DONE
    assert written() == before


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
    workdir: Path, text: str, cells: int, contrasts: int
) -> None:
    Path("study.yaml").write_text(f"{HOLES}{text}\n")
    assert run() == study.DONE
    plan = StudyPlan.read(Path("reports/masking/plan.json"))
    assert len(plan.trials) == 2 * cells
    found = compute_verdicts(read_results(plan, Path("runs")))
    asked = [verdict.contrast for verdict in found if verdict.contrast.family != "learning"]
    assert len(asked) == contrasts
    assert all(pair.paired_values for contrast in asked for pair in contrast.pairs)
    assert any(verdict.contrast.family == "learning" for verdict in found)


def test_every_finished_trial_is_said_with_its_score(
    workdir: Path, capsys: pytest.CaptureFixture[str]
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


def test_a_trial_is_judged_as_one_whatever_its_variant_is_called(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path("study.yaml")
    file.write_text(file.read_text().replace("good:", "mel_statistics:"))
    run("seeds=1")
    [line] = [line for line in said(capsys).splitlines() if "mel_statistics, seed 0: " in line]
    assert line.endswith("validation score 41.0")


def test_a_second_time_nothing_is_run(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    said(capsys)
    assert run() == study.DONE
    assert "0 trials to run, 4 done, 0 failed, of 4" in said(capsys)
    assert len(trainings()) == 7


def test_a_changed_probe_scores_again_and_trains_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    said(capsys)
    assert run("probes.knn.k=5") == study.DONE
    text = said(capsys)
    assert "0 trainings, 7 re-scores, 0 references" in text
    assert "good, seed 0: scored in" in text
    assert len(trainings()) == 7


def test_another_seed_runs_what_it_adds(workdir: Path) -> None:
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
