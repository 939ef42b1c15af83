"""The starter is a study, whatever it is called, and the schema knows what a study may say."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from ablate.config import loader, template
from ablate.core.distribution import DISTRIBUTION
from ablate.slurm import profile
from tests.command import ablate

ROOT = Path(__file__).parents[2]
TINY = ["data.clips_per_class=2", "data.valid_per_class=2", "data.test_per_class=5"]


@pytest.fixture(autouse=True)
def _code(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_starter_is_a_study_and_is_not_overwritten() -> None:
    assert ablate("init", "studies/mine.yaml").returncode == 0
    assert loader.load(Path("studies/mine.yaml")).name == "mine"
    with pytest.raises(ValueError, match="already exists"):
        template.write_template(Path("studies/mine.yaml"))


@pytest.mark.parametrize(
    "stem", ["mine", "2024", "true", "null", "1e5", "my study", "-x", "größe", "a'b: c", "+"]
)
def test_a_starter_may_be_called_anything(stem: str) -> None:
    file = template.write_template(Path(f"studies/{stem}.yaml"))
    study = loader.load(file)
    assert study.name == {"my study": "my_study", "-x": "x", "a'b: c": "a_b_c", "+": "study"}.get(
        stem, stem
    )


def test_the_plan_of_the_starter_warns_of_nothing() -> None:
    ablate("init", "studies/mine.yaml")
    for crop in (32, 112):  # other widths of the grid, even and odd
        done = ablate("plan", "studies/mine.yaml", *TINY, f"crop_frames={crop}")
        assert "10 trials to run" in done.stdout
        assert "warning" not in done.stdout


def test_every_line_of_the_starter_that_is_commented_out_is_one_too() -> None:
    text = template.TEXT.format(file="mine.yaml", name="mine")
    keys = ("  # optimizer.rate", "# design", "# exclude")
    for key in keys:
        text = text.replace(key, key.replace("# ", ""))
    text = text.replace("design: one_factor # default", "design: grid # default")
    Path("mine.yaml").write_text(text)
    assert set(loader.load(Path("mine.yaml")).factors) == {"masker", "optimizer.rate"}


def test_the_schema_knows_every_key_and_every_part() -> None:
    schema = json.loads(ablate("show", "--schema").stdout)
    baseline = schema["properties"]["baseline"]["properties"]
    assert {"masker", "budget", "extends", "crop_seconds"} <= baseline.keys()
    patches = schema["$defs"]["ablate.model.patchify.Rectangles"]["properties"]
    assert {"freq", "time", "seconds"} <= patches.keys()
    kinds = [one.get("$ref") for one in baseline["masker"]["anyOf"]]
    assert "#/$defs/maskers.MultiBlock" in kinds
    block = schema["$defs"]["maskers.MultiBlock"]["properties"]
    assert block["num_targets"]["type"] == "integer"
    assert schema["$defs"]["maskers.Curriculum"]["properties"]["start"]["anyOf"]


def test_a_study_recipe_or_profile_of_the_package_is_copied() -> None:
    for name in ("masking", "recipes/a_jepa.yaml", "slurm/gpu"):
        done = ablate("init", f"{name.removesuffix('.yaml')}.yaml", "--from", name)
        assert done.returncode == 0, done.stderr
    assert loader.load(Path("masking.yaml")).name == "masking"
    assert profile.load_profile("gpu").gpus == 1
    done = ablate("init", "other.yaml", "--from", "slurm/gpuu")
    assert "did you mean `slurm/gpu`?" in done.stderr
    assert not Path("other.yaml").exists()


def test_the_distribution_and_its_extras_are_named_as_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ablate/**/*.py")]
    texts = "\n".join(page.read_text() for page in pages)
    extras = re.findall(rf"{DISTRIBUTION}\[(\w+)\]", texts)
    extras += re.findall(r"format_install_command\([\"'](\w+)[\"']\)", texts)
    assert {"postgres", "dashboard", "parquet", "hub"} <= set(extras)
    assert set(extras) <= project["optional-dependencies"].keys()
    assert not re.search(r"pip install ['\"]?ablate\b(?!-jepa)", texts)
