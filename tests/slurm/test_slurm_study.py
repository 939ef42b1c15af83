"""The main study, shrunk, from its file to its report through a real SLURM."""

import csv
import shutil
from pathlib import Path

import pytest

from ablate.slurm.options import Asked
from ablate.study import run as study
from tests.slurm.conftest import empty_queue

ROOT = Path(__file__).parents[2]
SHRUNK = (
    "budget.steps=6",
    "seeds=2",
    "data.clips_per_class=4",
    "data.valid_per_class=1",
    "data.test_per_class=3",
    "probes={knn: {type: ablate.probing.knn.KNN, k: 3}}",
)


def go(where, *overrides):
    return study.run_study(
        Path("studies/masking.yaml"), [*SHRUNK, *overrides], workers=2, where=where
    )


def scores(reports):
    with (reports / "masking" / "scores.csv").open() as file:
        return sorted(map(tuple, csv.reader(file)))


def decided(reports):
    """The report's contrasts, less what they cost."""
    text = (reports / "masking" / "report.md").read_text()
    return [
        line
        for line in text.partition("## Score against cost")[0].splitlines()
        if line.startswith("|")
    ]


@pytest.fixture
def bench(site, tmp_path, monkeypatch):
    """A working directory with the studies and the profiles, and nothing run yet."""
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(tmp_path / "here" / name))
    return tmp_path


def test_a_study_comes_to_the_same_on_a_cluster(bench, monkeypatch, capsys):
    assert go(Asked()) == study.DONE
    for name in ("runs", "reports"):
        monkeypatch.setenv(f"ABLATE_{name.upper()}", str(bench / "there" / name))
    with Path("slurm/testcluster.yaml").open("a") as profile:
        profile.write("canary: false\n")
    assert go(Asked("testcluster", watch=True)) == study.DONE
    here, there = bench / "here" / "reports", bench / "there" / "reports"
    assert scores(here) == scores(there)
    assert decided(here) == decided(there)


def test_a_dry_run_shows_the_jobs_and_submits_nothing(bench, capsys):
    assert go(Asked("testcluster", dry_run=True)) == study.DONE
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-4%5" in text
    assert "#SBATCH --partition=cpu" in text
    assert "#SBATCH --dependency=afterok:CANARY" in text
    assert not (bench / "here" / "reports" / "masking" / "slurm").exists()


def test_an_unknown_profile_is_told_before_anything_is_planned(bench, capsys):
    assert go(Asked("testclutser")) == study.WRONG
    assert "no such profile (did you mean `testcluster`?)" in capsys.readouterr().err
