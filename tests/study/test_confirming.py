"""Leading variants are trained again on fresh seeds, and the report shows the result."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.test_seed_rounds import read_report_files, trainings

STUDY = """\
study: masking
baseline:
  data: {type: Sound}
  masker: {type: Good, lift: 0}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good, lift: 0}
    best: {type: Good, lift: LIFT}
    other: {type: Good, lift: 5}
seeds: 2
confirm: CONFIRM
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""


def write(confirm: str = "{top: 1, seeds: 3}", lift: int = 20) -> Path:
    file = Path("study.yaml")
    file.write_text(STUDY.replace("CONFIRM", confirm).replace("LIFT", str(lift)))
    return file


def load_confirming_trials() -> list[TrialEntry]:
    plan = StudyPlan.read(Path("reports/masking/plan.json"))
    return [trial for trial in plan.trials if trial.confirms]


def test_the_leading_variant_is_confirmed_on_seeds_that_did_not_choose_it(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run_study(write(), workers=2, command=STAND_IN) == study.DONE
    assert trainings() == 3 * 2 + 2 * 3
    assert {trial.levels["masker"] for trial in load_confirming_trials()} == {"good", "best"}
    assert {trial.seed for trial in load_confirming_trials()} == {2, 3, 4}
    assert "to confirm, on fresh seeds 2, 3, 4: good; best\n" in capsys.readouterr().out
    report = Path("reports/masking/report.md").read_text()
    assert "On fresh seeds, best is better than good by" in report
    assert "3 variants, 2 seeds, 6 of 6 trials" in report
    before = read_report_files()
    assert study.run_study(write(), workers=2, command=STAND_IN) == study.DONE
    assert read_report_files() == before
    assert study.report_study(write(), command=STAND_IN) == study.DONE
    assert read_report_files() == before


def test_a_baseline_that_leads_is_not_confirmed_against_itself(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(lift=-20)
    overrides = ["factors.masker.other.lift=-5"]
    assert study.run_study(file, overrides, workers=2, command=STAND_IN) == study.DONE
    assert trainings() == 3 * 2
    assert "nothing to confirm" in capsys.readouterr().out


def test_limits_include_the_trials_of_a_confirmation(workdir: Path) -> None:
    over = study.run_study(write(), ["limits={trials: 11}"], workers=2, command=STAND_IN)
    assert over == study.OVER
    assert not Path("runs").exists()


def test_fresh_seeds_follow_all_seeds_that_the_study_may_use(workdir: Path) -> None:
    study = loader.load(write(), ["seeds={start: 2, max: 7}"])
    assert study.confirm is not None
    assert (study.confirm.top, study.confirm_seeds) == (1, (7, 8, 9))


@pytest.mark.parametrize(
    ("confirm", "problem"),
    [
        ("{top: 1, sedes: 3}", "unknown key `sedes` of `confirm` (did you mean `seeds`?)"),
        ("{top: 1}", "`confirm.seeds` is missing: fresh seeds per variant"),
        ("{top: 0, seeds: 3}", "`confirm.top` must be a count from 1 up; got 0"),
        ("{top: 1, seeds: 1}", "`confirm.seeds` must be a count from 2 to 10000; got 1"),
        ("5", "`confirm` must be a mapping with top, seeds: retrains the leading variants"),
    ],
)
def test_an_invalid_confirm_section_is_reported_with_its_line(
    workdir: Path, confirm: str, problem: str
) -> None:
    with pytest.raises(StudyError) as caught:
        loader.load(write(confirm))
    assert str(caught.value).startswith("study.yaml:12: ")
    assert problem in str(caught.value)
