"""A sweep with a time limit on a scripted cluster whose workers have left the queue."""

import os
from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.snapshot import StudySnapshot
from ablate.config.sweep import SweepError
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.runs import store
from ablate.slurm.options import SlurmOptions
from ablate.slurm.profile import Profile
from ablate.study import run as study_run
from ablate.study.job import run_job
from ablate.study.prepare import apply_sweep, prepare
from ablate.sweep import slurm as sweep_slurm
from tests.executors.stand_in import STAND_IN
from tests.slurm.fake_slurm import write_commands
from tests.sweep.test_tuning import STUDY

SCRIPTS = {"sbatch": "echo 7; echo >> submitted", "squeue": ""}
PROFILE = Profile(name="full", poll_seconds=0.0)
SHORT_LIMIT = "sweep.minutes=1e-6"


@pytest.fixture(autouse=True)
def _two_points_each(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four points of each level are finished, and the workers have ended."""
    monkeypatch.setenv("PATH", f"{write_commands(workdir, SCRIPTS)}:{os.environ['PATH']}")
    Path("study.yaml").write_text(STUDY)
    options, two_points = SlurmOptions(sweep_only=True), ["sweep.trials=2", "study=tuned"]
    file = Path("study.yaml")
    code = study_run.run_study(file, two_points, workers=1, slurm=options, command=STAND_IN)
    assert code == 0


def count_submissions() -> int:
    """Counts submissions; each is preceded by a dry run."""
    return len(Path("submitted").read_text().splitlines()) // 2


def run_sweep(*overrides: str, watch: bool = False) -> bool:
    study = loader.load(Path("study.yaml"), [*overrides, "study=tuned"])
    folders, console = store.get_folders(), create_console()
    with Pool(folders.cache, size=1, command=STAND_IN) as pool:
        plan = prepare(study, pool, console).plan
    options = SlurmOptions("full", watch)
    return sweep_slurm.sweep_on_cluster(study, plan, PROFILE, folders, options, console)


def test_a_watched_sweep_ends_at_its_time_limit() -> None:
    assert run_sweep(SHORT_LIMIT, watch=True)


def test_a_resubmitted_sweep_ends_at_its_time_limit() -> None:
    assert [run_sweep(SHORT_LIMIT), run_sweep(SHORT_LIMIT)] == [False, True]
    assert count_submissions() == 1


@pytest.mark.parametrize("other", ["sweep.minutes=2e-6", "sweep.trials=5"])
def test_more_time_or_more_points_are_submitted_again(other: str) -> None:
    assert [run_sweep(SHORT_LIMIT), run_sweep(SHORT_LIMIT, other)] == [False, False]
    assert count_submissions() == 2


@pytest.mark.parametrize("limit", [[], ["sweep.minutes=60"]])
def test_workers_that_end_before_the_time_limit_are_an_error(limit: list[str]) -> None:
    with pytest.raises(SweepError, match="the workers ended after 4 of 8 points"):
        run_sweep(*limit, watch=True)


def test_an_edit_of_the_study_changes_no_queued_sweep() -> None:
    assert not run_sweep()
    Path("study.yaml").write_text(STUDY.replace("trials: 4", "trials: 3").replace("rate", "Rate"))
    [snapshot] = Path("reports/tuned/slurm/sweep").glob("*/study.json")
    assert run_job(snapshot, "sweep", command=STAND_IN) == 0
    with Pool(store.get_folders().cache, size=1, command=STAND_IN) as pool:
        study, console = StudySnapshot.read(snapshot).load(), create_console()
        prepared = prepare(study, pool, console)
        prepared = apply_sweep(prepared, pool, store.get_folders(), console, searched=True)
    assert [result.points for result in prepared.plan.sweep] == [4, 4]


def test_points_that_a_cluster_left_are_not_evaluated_locally() -> None:
    study = loader.load(Path("study.yaml"))
    folders, console = store.get_folders(), create_console()
    with Pool(folders.cache, size=1, command=STAND_IN) as pool:
        prepared = apply_sweep(prepare(study, pool, console), pool, folders, console, searched=True)
    assert [result.points for result in prepared.plan.sweep] == [2, 2]
