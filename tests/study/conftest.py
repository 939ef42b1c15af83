"""A study of two maskers and two seeds, run with a worker that simulates training."""

from pathlib import Path

import pytest

from ablate.study import run as study
from tests.executors.stand_in import STAND_IN

STUDY = """\
# Does it matter?
study: masking
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good}
    other: {type: Other, ratio: 0.4}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""


@pytest.fixture(autouse=True)
def _study(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY)


def run(*overrides: str, retry_failed: bool = False, force: bool = False) -> int:
    """Runs the study under its own name, also with replaced settings."""
    named = [*overrides, "study=masking"] if overrides else []
    return study.run_study(
        Path("study.yaml"),
        named,
        workers=2,
        retry_failed=retry_failed,
        force=force,
        command=STAND_IN,
    )


def trainings() -> list[str]:
    """Returns one line per training of a run folder, references included."""
    files = Path("runs").glob("*/trainings")
    return [line for file in files for line in file.read_text().splitlines()]


def read_output(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out
