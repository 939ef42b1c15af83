"""`ablate run --only` runs some trials of a study and reports nothing."""

from pathlib import Path

import pytest

from ablate.core.records.plan import StudyPlan
from ablate.runs.links import format_link_name
from ablate.study import run as study
from ablate.study.selected_trials import split_conditions
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import read_output, run, trainings

FILE = Path("study.yaml")


def run_only(*conditions: str) -> int:
    return study.run_study(FILE, only=conditions, workers=1, command=STAND_IN)


def test_only_the_selected_trials_run_and_no_report_is_written(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_only("masker=other", "seed=1") == study.DONE
    assert "only 1 of 4 trials: other, seed 1" in read_output(capsys)
    assert len(trainings()) == 3  # with its random init and the log-mel statistics
    assert not Path("reports/masking/index.html").exists()
    assert run_only("masker=othr") == study.WRONG
    assert "did you mean `other`?" in capsys.readouterr().err
    assert run() == study.DONE  # continues with what is left
    assert len(trainings()) == 7


def test_conditions_are_separated_from_settings() -> None:
    texts = ["masker=other", "seed=1", "budget.steps=3", "masker={type: Good}"]
    assert split_conditions(FILE, texts) == (texts[:2], texts[2:])


def test_runs_are_linked_under_readable_names(workdir: Path) -> None:
    run()
    links = Path("reports/masking/runs")
    assert {link.name for link in links.iterdir()} == {
        f"{masker}--seed-{seed}" for masker in ("good", "other") for seed in (0, 1)
    }
    plan = StudyPlan.read(Path("reports/masking/plan.json"))
    for trial in plan.trials:
        assert (links / format_link_name(trial)).resolve().name == trial.fingerprint
    run("seeds=1", force=True)
    assert len(list(links.iterdir())) == 2
