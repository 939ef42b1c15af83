"""Tests of a sweep whose points are evaluated by jobs of a real SLURM."""

import os
import shutil
from pathlib import Path

import pytest

from ablate.core.io import find_json
from ablate.core.records.plan import StudyPlan
from ablate.slurm import command_array, commands
from ablate.slurm.options import SlurmOptions
from ablate.study import run as study
from tests.slurm.conftest import ALL_SECONDS, MASKER_FILE, empty_queue, wait_until

ROOT = Path(__file__).parents[2]
SHRUNK = (
    "study=sweep",
    "budget.steps=4",
    "budget.batch=4",
    "factors.masker.random={type: scripted_masker.Scripted, kind: slow}",
    "seeds=2",
    "data.clips_per_class=4",
    "data.valid_per_class=2",
    "data.test_per_class=3",
    "probes={knn: {type: ablate.probing.knn.KNN, k: 3}}",
    "sweep.trials=3",
    "sweep.workers=2",
    "sweep.sampler=random",
)


def run_study(*, watch=False, dry_run=False):
    options = SlurmOptions("testcluster", watch, dry_run)
    return study.run_study(Path("studies/sweep.yaml"), SHRUNK, workers=1, slurm=options)


@pytest.fixture
def workdir(site, tmp_path, monkeypatch):
    """A working directory with the studies and the profiles, and no runs."""
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(tmp_path)]))
    monkeypatch.setenv("SCRIPTED_SECONDS", str(ALL_SECONDS))
    shutil.copy(MASKER_FILE, tmp_path)
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    for name in ("runs", "reports", "cache"):
        monkeypatch.delenv(f"ABLATE_{name.upper()}", raising=False)
    with Path("slurm/testcluster.yaml").open("a") as profile:
        profile.write("canary: false\n")
    return tmp_path


def list_running(workdir):
    """Lists the trials that are being trained; a worker trains one at a time."""
    records = [find_json(path) for path in workdir.glob("runs/*/run.json")]
    return [record for record in records if record and record["state"] == "running"]


def query_fields(task):
    """Returns the fields of a worker's job, such as `Restarts=1`."""
    return set(commands.run_command(["scontrol", "-o", "show", "job", task.job_id]).split())


def test_jobs_evaluate_the_points_and_other_jobs_train_the_best(workdir, capsys):
    folder = workdir / "reports" / "sweep" / "slurm" / "sweep"
    assert run_study() == study.DONE
    assert "2 sweep workers are queued" in capsys.readouterr().out
    requeued = command_array.find_queued(folder)[0]
    wait_until(lambda: len(list_running(workdir)) == 2)  # and they wait for `hurry`
    commands.run_command(["scontrol", "requeue", requeued.job_id])
    wait_until(lambda: {"Restarts=1", "JobState=RUNNING"} <= query_fields(requeued))
    (workdir / "hurry").touch()
    wait_until(lambda: not command_array.find_queued(folder), ALL_SECONDS)
    assert run_study(watch=True) == study.DONE
    plan = StudyPlan.read(workdir / "reports" / "sweep" / "plan.json")
    assert {result.points for result in plan.sweep} == {3}
    assert (workdir / "reports" / "sweep" / "report.md").is_file()


def test_a_dry_run_shows_the_workers_jobs_and_submits_nothing(workdir, capsys):
    assert run_study(dry_run=True) == study.DONE
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-1%" in text
    assert "-m ablate.slurm.command_array" in text
    assert not (workdir / "reports" / "sweep" / "slurm").exists()
