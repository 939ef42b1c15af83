"""What a study takes from other files: `extends`, lists of files and overlays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ablate.config import recipes
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


def test_every_recipe_is_part_of_a_wheel() -> None:
    root = Path(__file__).parents[2]
    lists = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    packed = {
        f"{place.removeprefix(recipes.DATA)}/{file.name}": file
        for place, patterns in lists.items()
        for pattern in patterns
        for file in root.glob(pattern)
    }
    assert packed == recipes.list_recipes()


SMALL = """\
masker: {type: maskers.MultiBlock}
overlay:
  data: {type: ablate.audio.synthetic.Synthetic}
  crop_seconds: 1.28
  encoder: {dim: 8, layers: 2, kernel: 3}
  budget: {steps: 4}
"""


def in_a_list(*files: str) -> Any:
    write("studies/recipes/small.yaml", SMALL)
    text = STUDY.replace("extends: recipes/tiny.yaml", f"extends: [{', '.join(files)}]")
    text = text.replace(
        "  masker: {type: maskers.Random, ratio: 0.6}\n  budget:\n    steps: 1500\n", ""
    )
    write("studies/masking.yaml", text)
    return baseline()


def test_of_a_list_of_files_each_is_laid_over_those_before_it(folder: Path) -> None:
    write("studies/recipes/more.yaml", "masker: {type: maskers.Random}\nbudget: {steps: 12}\n")
    found = in_a_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert found["masker"] == {"type": "maskers.Random"}
    assert found["budget"] == {"steps": 12, "batch": 16}


def test_an_overlay_changes_only_what_is_there_and_keeps_its_kind(folder: Path) -> None:
    found = in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert found["encoder"] == {"type": "ablate.model.vit.ViT", "dim": 8}
    assert found["budget"] == {"steps": 4, "batch": 16}
    assert found["masker"]["type"] == "maskers.TimeFrequency"
    assert not {"crop_seconds", "data", "overlay"} & found.keys()


def test_a_part_that_an_overlay_names_replaces_the_one_that_is_there(folder: Path) -> None:
    tiny = TINY + "data: {type: my.Folder, manifest: list.csv}\n"
    write("studies/recipes/tiny.yaml", tiny)
    found = in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert found["data"] == {"type": "ablate.audio.synthetic.Synthetic"}


def test_a_file_with_an_overlay_is_a_baseline_by_itself(folder: Path) -> None:
    assert in_a_list("recipes/small.yaml") == {"masker": {"type": "maskers.MultiBlock"}}


def test_a_size_in_other_words_takes_the_place_of_the_one_that_is_there(folder: Path) -> None:
    write("studies/recipes/tiny.yaml", TINY + "patchifier: {type: R, time: 4}\ncrop_frames: 128\n")
    write("studies/recipes/more.yaml", "patchifier: {seconds: 0.1}\ncrop_seconds: 2\n")
    found = in_a_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert found["patchifier"] == {"type": "R", "seconds": 0.1}
    assert found["crop_seconds"] == 2
    assert "crop_frames" not in found
    told = baseline("patchifier.time=8", "crop_frames=64")
    assert (told["patchifier"], told["crop_frames"]) == ({"type": "R", "time": 8}, 64)
    assert "crop_seconds" not in told


def test_an_overlay_remembers_where_it_was_written(folder: Path) -> None:
    in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert loaded().baseline.nearest(["encoder", "dim"]).place == "studies/recipes/small.yaml:5"
    assert loaded().baseline.nearest(["encoder"]).place == "studies/recipes/tiny.yaml:4"


def test_an_overlay_in_a_study_itself_is_refused(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("  budget:", "  overlay: {}\n  budget:"))
    with pytest.raises(StudyError, match="unknown key `overlay` of `baseline`"):
        loaded()
