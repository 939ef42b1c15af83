"""A follow-up repeats a study on seeds that it never used."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.study import Study
from ablate.study.followup import write_followup

STUDY = """# Does the mask matter?
study: masks
baseline:
  data: {type: ablate.audio.synthetic.Synthetic, clips_per_class: 4}
  budget: {steps: 2, batch: 2}
  masker: {type: maskers.Random, ratio: 0.6}  # as published
factors:
  masker:
    low: {type: maskers.Random, ratio: 0.4}
seeds: SEEDS
confirm: {top: 1, seeds: 2}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_RUNS", raising=False)
    return tmp_path / "masks.yaml"


def get_rest(study: Study) -> dict[str, object]:
    """Returns the settings of a study without its name, seeds and confirmation."""
    settings = study.tree.plain()
    return {key: settings[key] for key in settings if key not in ("study", "seeds", "confirm")}


@pytest.mark.parametrize("seeds", ["3", "[4, 9, 7]", "{start: 2, max: 5}"])
def test_a_followup_differs_only_in_its_name_and_fresh_seeds(file: Path, seeds: str) -> None:
    file.write_text(STUDY.replace("SEEDS", seeds))
    before = loader.load(file)
    written, fresh = write_followup(file, num_seeds=6)
    after = loader.load(written)
    assert len(fresh) == 6
    assert after.seeds == fresh
    assert not {*fresh} & {*before.all_seeds}
    assert after.confirm is None
    assert get_rest(after) == get_rest(before)
    assert "# as published" in written.read_text()


def test_without_a_report_the_number_of_seeds_is_required(file: Path) -> None:
    file.write_text(STUDY.replace("SEEDS", "3"))
    with pytest.raises(ValueError, match=r"no report .*; give the number .*: --seeds N"):
        write_followup(file)


def test_an_existing_file_is_not_overwritten(file: Path) -> None:
    file.write_text(STUDY.replace("SEEDS", "3"))
    write_followup(file, num_seeds=3)
    with pytest.raises(ValueError, match=r"exists; give another file: --to FILE"):
        write_followup(file, num_seeds=3)
