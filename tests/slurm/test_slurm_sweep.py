"""A sweep whose points are taken by jobs of a real SLURM."""

import os
import shutil
from pathlib import Path

import pytest

from ablate.core.io import find_json
from ablate.core.records.plan import StudyPlan
from ablate.slurm import commands, sweep_workers
from ablate.slurm.options import Asked
from ablate.study import run as study
from tests.slurm.conftest import ALL_SECONDS, GUEST, empty_queue, wait_until

ROOT = Path(__file__).parents[2]
SHRUNK = (
    "budget.steps=4",
    "budget.batch=4",
    "factors.masker.random={type: slurm_guest.Guest, kind: slow}",
    "seeds=2",
    "data.clips_per_class=4",
    "data.valid_per_class=2",
    "data.test_per_class=3",
    "probes={knn: {type: ablate.probing.knn.KNN, k: 3}}",
    "sweep.trials=3",
    "sweep.workers=2",
    "sweep.sampler=random",
)


def go(*, watch=False, dry_run=False):
    where = Asked("testcluster", watch, dry_run)
    return study.run_study(Path("studies/sweep.yaml"), SHRUNK, workers=1, where=where)


@pytest.fixture
def bench(site, tmp_path, monkeypatch):
    """A working directory with the studies and the profiles, and nothing run yet."""
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    monkeypatch.setenv("GUEST_SECONDS", str(ALL_SECONDS))
    shutil.copy(GUEST, tmp_path)
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    for name in ("runs", "reports", "cache"):
        monkeypatch.delenv(f"ABLATE_{name.upper()}", raising=False)
    with Path("slurm/testcluster.yaml").open("a") as profile:
        profile.write("canary: false\n")
    return tmp_path


def at_work(bench):
    """Lists the trials that are being trained: a worker has one at a time."""
    found = [find_json(path) for path in bench.glob("runs/*/run.json")]
    return [run for run in found if run and run["state"] == "running"]


def told(task):
    """What the cluster says of a worker's job."""
    return set(commands.call(["scontrol", "-o", "show", "job", task.job]).split())


def test_jobs_take_the_points_and_the_best_are_trained_by_others(bench, capsys):
    folder = bench / "reports" / "sweep" / "slurm" / "sweep"
    assert go() == study.DONE
    assert "2 sweep workers are queued" in capsys.readouterr().out
    requeued = sweep_workers.crew(folder)[0]
    wait_until(lambda: len(at_work(bench)) == 2)  # and they wait for `hurry`
    commands.call(["scontrol", "requeue", requeued.job])  # it leaves, and comes back
    wait_until(lambda: {"Restarts=1", "JobState=RUNNING"} <= told(requeued))
    (bench / "hurry").touch()
    wait_until(lambda: not sweep_workers.crew(folder), ALL_SECONDS)
    assert go(watch=True) == study.DONE
    plan = StudyPlan.read(bench / "reports" / "sweep" / "plan.json")
    assert {result.points for result in plan.sweep} == {3}
    assert (bench / "reports" / "sweep" / "report.md").is_file()


def test_a_dry_run_shows_the_workers_jobs_and_submits_nothing(bench, capsys):
    assert go(dry_run=True) == study.DONE
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-1%" in text
    assert "-m ablate.slurm.sweep_workers" in text
    assert not (bench / "reports" / "sweep" / "slurm").exists()
