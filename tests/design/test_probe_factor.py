"""The probe may be a factor: one run for all its levels, examined by each."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.study import run as study

ROOT = Path(__file__).parents[2]
TEXT = f"""\
study: near_or_far
baseline:
  extends: {ROOT}/studies/recipes/scale/tiny.yaml
  data: {{type: ablate.audio.synthetic.Synthetic, clips_per_class: 2,
         valid_per_class: 1, test_per_class: 1}}
factors:
  masker:
    random: {{type: maskers.Random, ratio: 0.6}}
    block: {{type: maskers.MultiBlock}}
  probe: {{near: one, far: ten}}
probes:
  one: {{type: ablate.probing.knn.KNN, k: 1}}
  ten: {{type: ablate.probing.knn.KNN, k: 10}}
score: ten.mean
seeds: 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "near_or_far.yaml"
    path.write_text(TEXT)
    return path


def test_levels_of_the_probe_share_a_run_but_are_separate_trials(file: Path) -> None:
    with Pool(file.parent / "cache", size=1) as pool:
        prepared = study.prepare(loader.load(file), pool, create_console())
    keys = {(t.levels["masker"], t.probe, t.seed) for t in prepared.plan.trials}
    assert keys == {(m, p, s) for m in ("random", "block") for p in ("one", "ten") for s in (0, 1)}
    assert len({trial.fingerprint for trial in prepared.trials}) == 4
    assert prepared.plan.baseline["probe"] == "far"  # the probe of the score
    assert prepared.find_pending(file.parent / "runs").counts()["trainings"] == 4


def test_a_level_that_names_no_probe_is_an_error_with_a_suggestion(file: Path) -> None:
    file.write_text(TEXT.replace("near: one", "near: onne"))
    with pytest.raises(StudyError, match=r"names no probe of the study; got 'onne'.*`one`"):
        loader.load(file)
