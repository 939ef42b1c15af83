"""A small study on disk, and ways to read it."""

from pathlib import Path
from typing import Any

import pytest

from ablate.config.loader import load
from ablate.config.study import Study, StudyError

STUDY = """\
study: masking
baseline:
  extends: recipes/tiny.yaml
  masker: {type: maskers.Random, ratio: 0.6}
  budget:
    steps: 1500
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    block: {type: maskers.MultiBlock}
  optimizer.rate: [1e-3, 3e-3]
seeds: 3
score: knn.concat_freq
report: {equivalence_margin: 1.5}
"""


TINY = """\
# the smallest
masker: {type: maskers.TimeFrequency, axes: time}
budget: {steps: 10, batch: 16}
encoder:
  type: ablate.model.vit.ViT
  dim: 64
optimizer: {rate: 1e-3}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("studies/masking.yaml", STUDY)
    write("studies/recipes/tiny.yaml", TINY)
    return tmp_path


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def loaded(*overrides: str) -> Study:
    return load(Path("studies/masking.yaml"), overrides)


def baseline(*overrides: str) -> Any:
    return loaded(*overrides).baseline.plain()


def problems(text: str | None = None, *overrides: str) -> list[str]:
    if text is not None:
        write("studies/masking.yaml", text)
    with pytest.raises(StudyError) as caught:
        loaded(*overrides)
    return caught.value.problems
