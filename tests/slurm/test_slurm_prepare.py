"""Tests on a real SLURM that jobs decode the clips of a study, and join their parts."""

import shutil
from pathlib import Path

import pytest

from ablate.slurm import command_array
from ablate.slurm.options import SlurmOptions
from ablate.study import run as study
from ablate.study.corpora import prepare_corpora
from tests.slurm.conftest import ALL_SECONDS, ROOT, empty_queue, wait_until

STUDY = """\
study: large
baseline:
  extends: recipes/scale/tiny.yaml
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 4
    valid_per_class: 1
    test_per_class: 1
  masker: {type: maskers.Random}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""


@pytest.fixture
def workdir(site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a study, and no clips."""
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("RUNS", "REPORTS", "CACHE"):
        monkeypatch.delenv(f"ABLATE_{name}", raising=False)
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    (tmp_path / "study.yaml").write_text(STUDY.replace("recipes/", f"{ROOT}/studies/recipes/"))
    return tmp_path


def read_stores(cache: Path) -> dict[str, bytes]:
    """Returns the bytes of all files of stores, by path."""
    files = [file for file in cache.rglob("*") if file.is_file() and file.name != "lock"]
    return {str(file.relative_to(cache)): file.read_bytes() for file in files}


def test_jobs_decode_the_same_store_as_one_process(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SlurmOptions("testcluster")
    assert prepare_corpora(Path("study.yaml"), slurm=options, num_jobs=3) == study.DONE
    Path("study.yaml").rename("edited.yaml")  # jobs read it as it was
    queued = command_array.find_all_queued(workdir / "reports", "large")
    assert [len(queued[title]) for title in ("decoding job", "joining job")] == [3, 1]
    wait_until(
        lambda: not any(command_array.find_all_queued(workdir / "reports", "large").values()),
        ALL_SECONDS,
    )
    decoded = read_stores(workdir / "cache")
    logs = [file.read_text() for file in workdir.glob("reports/large/slurm/*/*/logs/*_log.out")]
    assert sum("part " in log for log in logs) == 3
    monkeypatch.setenv("ABLATE_CACHE", "other")
    assert prepare_corpora(Path("edited.yaml")) == study.DONE
    assert decoded
    assert decoded == read_stores(workdir / "other")
