"""The training step of every recipe does on a GPU what it should, seen on fake CUDA tensors."""

from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from tests.cuda.conftest import RunStep

RECIPES = sorted((Path(__file__).parents[2] / "studies" / "recipes").glob("*.yaml"))


STUDY = """\
study: recipe
baseline: {extends: FILE, data: {type: ablate.audio.synthetic.Synthetic}}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN}}
score: knn.mean
"""


def read_recipe(file: Path, folder: Path) -> dict[str, Any]:
    """Reads the settings of a recipe's trial, with few layers and clips, in bf16."""
    study = folder / "recipe.yaml"
    study.write_text(STUDY.replace("FILE", str(file)))
    settings = {**loader.load(study).baseline.plain(), "seed": 0}
    settings["budget"] = {**settings.get("budget", {}), "batch": 8, "steps": 1000, "accumulate": 1}
    settings["optimizer"] = {**settings.get("optimizer", {}), "precision": "bf16"}
    for part in ("encoder", "predictor"):
        if "layers" in settings.get(part, {}):
            settings[part]["layers"] = 2
    if isinstance(settings.get("target", {}).get("layers"), int):
        settings["target"]["layers"] = min(2, settings["target"]["layers"])
    return settings


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_step_of_a_recipe_keeps_the_gpu_busy(
    file: Path, run_step: RunStep, tmp_path: Path
) -> None:
    seen = run_step(read_recipe(file, tmp_path))
    assert seen["waits"] == []
    assert seen["pageable_copies"] == []
    forward = {name for name in seen["kernels"] if name.startswith("fa") and "F@" in name}
    backward = {name for name in seen["kernels"] if name.startswith("fa") and "B@" in name}
    assert forward
    assert backward
    assert "varlen" not in seen["kernels"]


def test_without_the_extension_of_xformers_variable_length_attention_serves(
    run_step: RunStep, tmp_path: Path
) -> None:
    settings = read_recipe(RECIPES[0].with_name("audio_jepa.yaml"), tmp_path)
    seen = run_step(settings, ABLATE_NO_XFORMERS="1")
    assert set(seen["kernels"]) == {"varlen"}
    assert seen["masked_attention"] == {}
    assert seen["waits"] == []
    assert seen["pageable_copies"] == []
