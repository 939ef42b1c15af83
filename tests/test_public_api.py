"""Every public name of `ablate` is documented, and its example gives the output it shows."""

import doctest
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ablate
from ablate.export.export import export_encoder

ROOT = Path(__file__).parents[1]
STUDY = """\
study: tiny
baseline:
  data:
    type: ablate.audio.synthetic.Synthetic
    clips_per_class: 2
    valid_per_class: 1
    test_per_class: 1
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 3, batch: 4}
factors:
  masker: {random: {type: maskers.Random}, block: {type: maskers.MultiBlock}}
seeds: 1
probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}
score: knn.mean
"""
# examples that run a study come first: later ones read what it wrote
STUDY_EXAMPLES = ("plan", "run", "results", "load_encoder")
NAMES = [name for name in ablate.__all__ if name != "__version__"]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with `study.yaml`."""
    folder = tmp_path_factory.mktemp("public")
    (folder / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        yield folder


def run_example(name: str) -> None:
    """Runs the example in the docstring of a public name; fails if there is none."""
    value = getattr(ablate, name)
    text = inspect.getdoc(value) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert test.examples, f"`ablate.{name}` has no example"
    assert not any(doctest.SKIP in example.options for example in test.examples)
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    failed, tried = runner.run(test, out=output.append)
    assert tried == len(test.examples)
    assert not failed, "".join(output)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in STUDY_EXAMPLES])
def test_the_example_of_a_public_name_works(name: str) -> None:
    run_example(name)


def test_the_examples_that_run_a_study_work(
    study_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in STUDY_EXAMPLES:
        if name == "load_encoder":
            trials = ablate.results("reports/tiny").trials
            export_encoder(Path("runs") / trials["fingerprint"].iloc[0], Path("exported"))
        run_example(name)


def test_a_wrong_study_is_an_error_with_all_its_mistakes(study_dir: Path) -> None:
    for function in (ablate.plan, ablate.run):
        with pytest.raises(ValueError, match="unknown key `nosuch`") as caught:
            function("study.yaml", {"nosuch": 1, "seeds": "many"})
        assert "seeds" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(ablate, name)
    text = inspect.getdoc(value) or ""
    assert len(text.splitlines()) > 3, f"`ablate.{name}` is not documented"
    if inspect.isfunction(value):
        for argument in inspect.signature(value).parameters:
            assert f"{argument}:" in text, f"`{argument}` of `ablate.{name}` is not documented"


def test_the_public_names_are_listed_before_they_are_loaded() -> None:
    code = "import sys, ablate; print(*dir(ablate)); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    names, modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    assert set(ablate.__all__) <= set(names.split())
    assert not {"torch", "pandas", "pydantic"} & set(modules.split())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module `ablate` has no attribute `Maskers`"):
        _ = ablate.Maskers  # type: ignore[attr-defined]
