"""Tests on a real SLURM that a user's own parts are imported in jobs as they were submitted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.conftest import ALL_SECONDS, MASKER_FILE, ROOT, empty_queue, wait_until

STUDY = """\
study: own
baseline:
  extends: recipes/scale/tiny.yaml
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 2
    valid_per_class: 1
    test_per_class: 1
  masker: {type: single.Scripted, kind: good}
  budget: {steps: 4, batch: 4}
factors:
  masker:
    file: {type: single.Scripted, kind: good}
    package: {type: my_lab.maskers.Scripted, kind: good}
    editable: {type: far.Scripted, kind: good}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""


@pytest.fixture
def files(site, tmp_path):
    """A working folder with a study and its parts; one of them is elsewhere, as if installed."""
    empty_queue()
    work = tmp_path / "work"
    files = [work / "single.py", work / "my_lab" / "maskers.py", tmp_path / "src" / "far.py"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(MASKER_FILE.read_text())
    (work / "slurm").mkdir()
    profile = (ROOT / "slurm" / "testcluster.yaml").read_text()
    (work / "slurm" / "testcluster.yaml").write_text(f"{profile}canary: false\n")
    (work / "study.yaml").write_text(STUDY.replace("recipes/", f"{ROOT}/studies/recipes/"))
    return files


def run_ablate(files: list[Path], *arguments: str) -> None:
    """Runs the entry point `ablate`, which does not have the working folder in `sys.path`."""
    path = os.pathsep.join([str(ROOT), str(files[-1].parent)])
    environ = {name: text for name, text in os.environ.items() if not name.startswith("ABLATE_")}
    program = "from ablate.cli.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.pop(0); {program}", *arguments],
        cwd=files[0].parent,
        env={**environ, "PYTHONPATH": path},
        check=True,
        timeout=ALL_SECONDS,
    )


def test_own_parts_run_in_jobs_as_they_were_submitted(files):
    run_ablate(files, "run", "study.yaml", "--slurm", "testcluster")
    kept = [file.read_text() for file in files]
    for file in files:
        file.write_text("raise RuntimeError('edited after submission')")
    runs = files[0].parent / "runs"
    wait_until(lambda: len(list(runs.glob("*/encoder.safetensors"))) == 3, ALL_SECONDS)
    for file, source in zip(files, kept, strict=True):
        file.write_text(source)
    run_ablate(files, "run", "study.yaml", "--slurm", "testcluster", "--watch")
    assert len(list(runs.glob("*/attempts/*"))) == len(list(runs.glob("*/config.json")))
