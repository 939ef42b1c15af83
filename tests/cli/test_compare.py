"""`ablate compare A B`, run as a subprocess."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.core.records.plan import ScoreView, StudyPlan
from tests.report.conftest import StudyBuilder

ROOT = Path(__file__).parents[2]
ABLATE = [sys.executable, "-c", "from ablate.cli.main import main; main()", "compare"]


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ABLATE_")}
    environment |= {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    return subprocess.run(
        [*ABLATE, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def save(folder: Path, study: str, plan: StudyPlan) -> None:
    plan = replace(plan, study=study)
    plan.write(plan.file_in(folder / "reports"))


@pytest.fixture
def two_studies(tmp_path: Path) -> Path:
    """Creates two similar studies; in the second, one masker scores ten points higher."""
    builder = StudyBuilder(
        tmp_path, factors={"masker": ["random", "block"]}, random_init_factors=(), noise=0.1
    )
    builder.levels_score = lambda levels: 40.0
    save(tmp_path, "masking", builder.build())
    builder.seeds = (10, 11, 12)
    builder.levels_score = lambda levels: 50.0 if levels["masker"] == "block" else 40.0
    save(tmp_path, "masking-again", builder.build())
    return tmp_path


def test_studies_are_compared_by_name_or_by_plan(two_studies: Path) -> None:
    done = compare(two_studies, "masking", "masking-again", "--json")
    moved = {row["variant"]: row["moved"] for row in json.loads(done.stdout)["rows"]}
    assert moved == {"random": "within noise", "block": "rose"}
    plans = [f"reports/{name}/plan.json" for name in ("masking", "masking-again")]
    assert compare(two_studies, *plans, "--json").stdout == done.stdout


def test_the_default_output_is_a_table(two_studies: Path) -> None:
    text = compare(two_studies, "masking", "masking").stdout
    assert text.count("the same runs") == 2
    assert "Holm-corrected over 0 variants" in text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("maskign", "no plan of a study `maskign` in reports (did you mean `masking`?)"),
        ("plan.json", "plan.json: no such file"),
        ("other.json", "other.json has no `format`; this version of ablate reads format 1"),
        ("broken.json", "broken.json is not JSON"),
    ],
)
def test_a_missing_or_invalid_plan_is_an_error(two_studies: Path, other: str, message: str) -> None:
    (two_studies / "broken.json").write_text("{")
    (two_studies / "other.json").write_text("{}")
    done = compare(two_studies, "masking", other)
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_studies_with_different_scores_cannot_be_compared(two_studies: Path) -> None:
    file = two_studies / "reports" / "masking-again" / "plan.json"
    replace(StudyPlan.read(file), score=ScoreView(probe="knn", pooling="mean")).write(file)
    done = compare(two_studies, "masking", "masking-again")
    assert (done.returncode, "cannot be compared" in done.stderr) == (2, True)
