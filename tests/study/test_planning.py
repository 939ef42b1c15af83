"""`ablate plan` prints what a study would run and cost, and enforces its limits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.run_folders import COST, edit_record
from tests.study.conftest import read_output, run


def test_a_plan_can_be_printed_as_json(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.plan_study(Path("study.yaml"), as_json=True, command=STAND_IN) == study.DONE
    plan = json.loads(read_output(capsys))
    assert plan["backlog"]["trainings"] == len(plan["trials"]) == 4


@pytest.mark.parametrize("limit", ["trials: 3", "disk_gb: 1.0e-6"])
def test_a_study_over_its_limits_is_not_started(
    workdir: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    assert run(f"limits={{{limit}}}") == study.OVER
    assert f"`limits.{limit.split(':')[0]}` is " in capsys.readouterr().err
    assert not Path("runs").exists()
    assert (
        study.plan_study(Path("study.yaml"), [f"limits={{{limit}}}"], command=STAND_IN)
        == study.OVER
    )


def test_a_study_within_its_limits_is_run(workdir: Path) -> None:
    assert run("limits={trials: 4, hours: 1}") == study.DONE
    assert run("limits={trials: 0}") == study.DONE  # nothing is left to train


def test_remaining_hours_are_estimated_from_finished_trials(workdir: Path) -> None:
    run()
    for file in Path("runs").glob("*/run.json"):
        edit_record(file.parent, cost=replace(COST, seconds=1800))
    assert run("seeds=4", "limits={hours: 1.9}") == study.OVER  # four more of half an hour
    assert run("seeds=4", "limits={hours: 2.1}") == study.DONE


def test_a_plan_prints_the_difference_that_its_seeds_can_detect(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.plan_study(Path("study.yaml"), ["seeds=3"], command=STAND_IN) == study.DONE
    line = "With 3 seeds, 80 % power needs a paired difference of 3.3 SD; with 5 seeds, 1.7 SD"
    assert line in read_output(capsys)


def test_a_plan_lists_every_trial_and_runs_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.plan_study(Path("study.yaml"), command=STAND_IN) == study.DONE
    text = read_output(capsys)
    assert "4 trials to run, 0 done, 0 failed, of 4" in text
    assert "    masker.type: Good -> Other\n" in text
    assert text.count(" planned") == 4
    assert "MB when all is done" in text or "kB when all is done" in text
    assert not Path("runs").exists()
