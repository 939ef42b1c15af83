"""How a study merges other files: `extends`, lists of files and overlays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ablate.config import package_files
from ablate.config.study import StudyError
from tests.config.conftest import STUDY, TINY, baseline, loaded, write


def test_an_extended_file_is_merged_deeply(folder: Path) -> None:
    assert baseline()["budget"] == {"steps": 1500, "batch": 16}


def test_another_type_replaces_what_was_inherited(folder: Path) -> None:
    assert baseline()["masker"] == {"type": "maskers.Random", "ratio": 0.6}


def test_the_same_type_adds_to_what_was_inherited(folder: Path) -> None:
    text = STUDY.replace(
        "  budget:", "  encoder: {type: ablate.model.vit.ViT, layers: 2}\n  budget:"
    )
    write("studies/masking.yaml", text)
    assert baseline()["encoder"] == {"type": "ablate.model.vit.ViT", "dim": 64, "layers": 2}


def test_extended_files_extend_files_relative_to_themselves(folder: Path) -> None:
    write("studies/recipes/tiny.yaml", "extends: ../more/base.yaml\n" + TINY)
    write("studies/more/base.yaml", "mel: {bands: 80}\nbudget: {clips: 3}\n")
    assert baseline()["mel"] == {"bands": 80}
    assert baseline()["budget"] == {"clips": 3, "steps": 1500, "batch": 16}


def test_a_recipe_that_comes_with_the_package_needs_no_copy(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("recipes/tiny.yaml", "recipes/a_jepa.yaml"))
    assert baseline()["predictor"]["type"] == "ablate.model.predictor.PerTarget"


def test_an_own_file_goes_before_the_recipe_of_its_name(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("recipes/tiny.yaml", "recipes/a_jepa.yaml"))
    write("studies/recipes/a_jepa.yaml", TINY)
    assert "predictor" not in baseline()


def test_every_study_recipe_and_profile_is_part_of_a_wheel() -> None:
    root = Path(__file__).parents[2]
    lists = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    packed = {
        f"{place}/{file.name}".removeprefix(package_files.DATA): file
        for place, patterns in lists.items()
        for pattern in patterns
        for file in root.glob(pattern)
    }
    assert packed == package_files.list_package_files()


SMALL = """\
masker: {type: maskers.MultiBlock}
overlay:
  data: {type: ablate.audio.synthetic.Synthetic}
  crop_seconds: 1.28
  encoder: {dim: 8, layers: 2, kernel: 3}
  budget: {steps: 4}
"""


def load_from_list(*files: str) -> Any:
    write("studies/recipes/small.yaml", SMALL)
    text = STUDY.replace("extends: recipes/tiny.yaml", f"extends: [{', '.join(files)}]")
    text = text.replace(
        "  masker: {type: maskers.Random, ratio: 0.6}\n  budget:\n    steps: 1500\n", ""
    )
    write("studies/masking.yaml", text)
    return baseline()


def test_each_file_of_a_list_is_merged_into_those_before_it(folder: Path) -> None:
    write("studies/recipes/more.yaml", "masker: {type: maskers.Random}\nbudget: {steps: 12}\n")
    merged = load_from_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert merged["masker"] == {"type": "maskers.Random"}
    assert merged["budget"] == {"steps": 12, "batch": 16}


def test_an_overlay_changes_only_existing_settings_of_a_part(folder: Path) -> None:
    merged = load_from_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert merged["encoder"] == {"type": "ablate.model.vit.ViT", "dim": 8}
    assert merged["budget"] == {"steps": 4, "batch": 16}
    assert merged["masker"]["type"] == "maskers.TimeFrequency"
    assert not {"crop_seconds", "data", "overlay"} & merged.keys()


def test_a_part_named_by_an_overlay_replaces_the_existing_one(folder: Path) -> None:
    tiny = TINY + "data: {type: my.Folder, manifest: list.csv}\n"
    write("studies/recipes/tiny.yaml", tiny)
    merged = load_from_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert merged["data"] == {"type": "ablate.audio.synthetic.Synthetic"}


def test_a_file_with_an_overlay_is_a_baseline_by_itself(folder: Path) -> None:
    assert load_from_list("recipes/small.yaml") == {"masker": {"type": "maskers.MultiBlock"}}


def test_a_size_in_seconds_replaces_the_same_size_in_frames(folder: Path) -> None:
    write("studies/recipes/tiny.yaml", TINY + "patchifier: {type: R, time: 4}\ncrop_frames: 128\n")
    write("studies/recipes/more.yaml", "patchifier: {seconds: 0.1}\ncrop_seconds: 2\n")
    merged = load_from_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert merged["patchifier"] == {"type": "R", "seconds": 0.1}
    assert merged["crop_seconds"] == 2
    assert "crop_frames" not in merged
    overridden = baseline("patchifier.time=8", "crop_frames=64")
    assert (overridden["patchifier"], overridden["crop_frames"]) == ({"type": "R", "time": 8}, 64)
    assert "crop_seconds" not in overridden


def test_an_overlay_remembers_where_it_was_written(folder: Path) -> None:
    load_from_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert loaded().baseline.nearest(["encoder", "dim"]).place == "studies/recipes/small.yaml:5"
    assert loaded().baseline.nearest(["encoder"]).place == "studies/recipes/tiny.yaml:4"


def test_an_overlay_in_the_study_file_is_an_error(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("  budget:", "  overlay: {}\n  budget:"))
    with pytest.raises(StudyError, match="unknown key `overlay` of `baseline`"):
        loaded()
