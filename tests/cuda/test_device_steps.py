"""Steps of every recipe do on a GPU what they should, seen on fake CUDA tensors."""

from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from tests.cuda.conftest import RunSteps

RECIPES = sorted((Path(__file__).parents[2] / "studies" / "recipes").glob("*.yaml"))
STEPS = ("training", "resumed", "features", "finetuning")

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
def test_the_steps_of_a_recipe_keep_the_gpu_busy(
    file: Path, run_steps: RunSteps, tmp_path: Path
) -> None:
    seen = run_steps(read_recipe(file, tmp_path))
    for step in STEPS:
        assert seen[step]["waits"] == [], step
        assert seen[step]["pageable_copies"] == [], step
        kernels = seen[step]["kernels"]
        assert any(name.startswith("fa") and "F@" in name for name in kernels), step
        trains = step != "features"
        assert any(name.startswith("fa") and "B@" in name for name in kernels) == trains, step
        assert "varlen" not in kernels, step
    assert all(name.startswith("xformers fa") for name in seen["recorded"])
    assert seen["warnings"] == []
    assert seen["explicit"] == ""
    assert any("in bf16, heads of 16, 24, 32, " in line for line in seen["doctor"])


def test_without_the_extension_of_xformers_variable_length_attention_serves(
    run_steps: RunSteps, tmp_path: Path
) -> None:
    settings = read_recipe(RECIPES[0].with_name("audio_jepa.yaml"), tmp_path)
    seen = run_steps(settings, ABLATE_NO_XFORMERS="1")
    for step in STEPS:
        assert set(seen[step]["kernels"]) == {"varlen"}
        assert seen[step]["masked_attention"] == {}
        assert seen[step]["waits"] == []
        assert seen[step]["pageable_copies"] == []
    assert seen["recorded"] == ["varlen"]
    [warning] = seen["warnings"]
    assert "slower kernel `varlen` (xformers: " in warning
    assert "`xformers` cannot serve: " in seen["explicit"]
    assert any("in bf16" in line and "varlen; not xformers: " in line for line in seen["doctor"])
