"""A snapshot of a study gives the same study, whatever happens to its files."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.snapshot import StudySnapshot
from ablate.config.study import Study
from ablate.core.io import DamagedFileError
from ablate.design.factors import build_factors
from ablate.design.trials import build_trials

ROOT = Path(__file__).parents[2]
STUDIES = sorted(path.name for path in (ROOT / "studies").glob("*.yaml"))


def describe(study: Study) -> list[object]:
    """Returns all that decides what is run, and how it is reported."""
    fields = {**vars(study), "tree": None, "factors": None, "baseline": None, "sweep": None}
    sweep = {} if study.sweep is None else {**vars(study.sweep), "space": None, "only": None}
    keys = {key: node.plain() for key, node in study.tree.children.items() if key != "slurm"}
    trials = [(t.variant, t.seed, t.settings) for t in build_trials(study, build_factors(study))]
    return [{**fields, "slurm": None}, sweep, keys, trials]


@pytest.mark.parametrize("overrides", [[], ["budget.steps=7", "seeds=[3, 5]"]])
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_the_same_when_loaded_from_a_snapshot(
    name: str, overrides: list[str], tmp_path: Path
) -> None:
    study = loader.load(ROOT / "studies" / name, overrides)
    StudySnapshot.create(study).write(tmp_path / "study.json")
    assert describe(StudySnapshot.read(tmp_path / "study.json").load()) == describe(study)


def test_a_snapshot_with_a_flipped_digit_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    StudySnapshot.create(loader.load(ROOT / "studies" / STUDIES[0], ["seeds=3"])).write(file)
    file.write_text(file.read_text().replace('"seeds": 3', '"seeds": 2'))
    with pytest.raises(DamagedFileError, match="does not match its checksum"):
        StudySnapshot.read(file)
