"""Tests of the main study, made small, from its file to its report on a real SLURM."""

import csv
import shutil
from pathlib import Path

import pytest

from ablate.slurm.options import SlurmOptions
from ablate.study import run as study
from tests.slurm.conftest import empty_queue

ROOT = Path(__file__).parents[2]
SHRUNK = (
    "study=masking",
    "budget.steps=6",
    "seeds=2",
    "data.clips_per_class=4",
    "data.valid_per_class=1",
    "data.test_per_class=3",
    "probes={knn: {type: ablate.probing.knn.KNN, k: 3}}",
    "score=knn.mean_std",
    "design=grid",
)


def run_study(options, *overrides):
    return study.run_study(
        Path("studies/masking.yaml"), [*SHRUNK, *overrides], workers=2, slurm=options
    )


def read_scores(reports):
    with (reports / "masking" / "scores.csv").open() as file:
        return sorted(map(tuple, csv.reader(file)))


def read_tables(reports):
    """Returns the tables of the report without the table of costs."""
    text = (reports / "masking" / "report.md").read_text()
    return [
        line
        for line in text.partition("## Score against cost")[0].splitlines()
        if line.startswith("|")
    ]


@pytest.fixture
def workdir(site, tmp_path, monkeypatch):
    """A working directory with the studies and the profiles, and no runs."""
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(tmp_path / "local" / name))
    return tmp_path


def test_a_study_has_the_same_report_on_a_cluster(workdir, monkeypatch, capsys):
    assert run_study(SlurmOptions()) == study.DONE
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(workdir / "cluster" / name))
    with Path("slurm/testcluster.yaml").open("a") as profile:
        profile.write("canary: false\n")
    assert run_study(SlurmOptions("testcluster", watch=True)) == study.DONE
    local, on_cluster = workdir / "local" / "reports", workdir / "cluster" / "reports"
    assert read_scores(local) == read_scores(on_cluster)
    assert read_tables(local) == read_tables(on_cluster)


def test_a_dry_run_shows_the_jobs_and_submits_nothing(workdir, capsys):
    assert run_study(SlurmOptions("testcluster", dry_run=True)) == study.DONE
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-4%5" in text
    assert "#SBATCH --partition=cpu" in text
    assert "#SBATCH --dependency=afterok:CANARY" in text
    assert not (workdir / "local" / "reports" / "masking" / "slurm").exists()


def test_an_unknown_profile_is_reported_before_planning(workdir, capsys):
    assert run_study(SlurmOptions("testclutser")) == study.WRONG
    assert "no such profile (did you mean `testcluster`?)" in capsys.readouterr().err
