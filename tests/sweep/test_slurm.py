"""A sweep with a time limit on a site of three scripts, whose workers have left the queue."""

import os
from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from ablate.config.sweep import SweepError
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.runs import store
from ablate.slurm.options import Asked
from ablate.slurm.profile import Profile
from ablate.study import run as study_run
from ablate.study.prepare import prepare, tuned
from ablate.sweep import slurm as sweep_slurm
from tests.executors.stand_in import STAND_IN
from tests.slurm.scripted_site import lay
from tests.sweep.test_tuning import STUDY

SCRIPTS = {"sbatch": "echo 7; echo >> submitted", "squeue": ""}
PROFILE = Profile(name="full", poll_seconds=0.0)
MOMENT = "sweep.minutes=1e-6"


@pytest.fixture(autouse=True)
def _two_points_each(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four points of each level have been tried, and the workers are gone."""
    monkeypatch.setenv("PATH", f"{lay(workdir, SCRIPTS)}:{os.environ['PATH']}")
    Path("study.yaml").write_text(STUDY)
    where, few = Asked(sweep_only=True), ["sweep.trials=2"]
    assert study_run.run(Path("study.yaml"), few, workers=1, where=where, command=STAND_IN) == 0


def submissions() -> int:
    """Counts what was handed in; each is rehearsed once before."""
    return len(Path("submitted").read_text().splitlines()) // 2


def swept(*overrides: str, watch: bool = False) -> bool:
    study = loader.load(Path("study.yaml"), overrides)
    folders, console = store.get_folders(), create_console()
    with Pool(folders.cache, size=1, command=STAND_IN) as pool:
        plan = prepare(study, pool, console).plan
    where = Asked("full", watch)
    return sweep_slurm.sweep(study, plan, PROFILE, folders, where, ["-V"], console)


def test_a_sweep_that_is_followed_is_over_once_its_time_is() -> None:
    assert swept(MOMENT, watch=True)


def test_a_sweep_that_is_asked_for_again_is_over_once_its_time_is() -> None:
    assert [swept(MOMENT), swept(MOMENT)] == [False, True]
    assert submissions() == 1


@pytest.mark.parametrize("other", ["sweep.minutes=2e-6", "sweep.trials=5"])
def test_more_time_or_more_points_are_handed_over_again(other: str) -> None:
    assert [swept(MOMENT), swept(MOMENT, other)] == [False, False]
    assert submissions() == 2


@pytest.mark.parametrize("limit", [[], ["sweep.minutes=60"]])
def test_workers_that_end_before_the_time_is_over_have_failed(limit: list[str]) -> None:
    with pytest.raises(SweepError, match="the workers have ended with 4 of 8 points"):
        swept(*limit, watch=True)


def test_what_a_cluster_has_left_untried_is_not_tried_here() -> None:
    study = loader.load(Path("study.yaml"))
    folders, console = store.get_folders(), create_console()
    with Pool(folders.cache, size=1, command=STAND_IN) as pool:
        found: Any = tuned(prepare(study, pool, console), pool, folders, console, taken=True).plan
    assert [one["points"] for one in found["sweep"]] == [2, 2]
