"""The scripts and the notebook in examples/ run, and so does the Python in the documentation."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile

import ablate

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
LABELS = {"low": 220, "high": 1760}
NUM_RUNS = 7  # 2 masks x 2 seeds, 2 random inits, log-mel statistics
TINY = {
    "study": "my_sounds",
    "seeds": 2,
    "budget.steps": 4,
    "budget.batch": 4,
    "crop_frames": 32,
    "encoder.layers": 1,
    "predictor.layers": 1,
    "probes.knn.k": 3,
}


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a folder of sounds, on which the first example has run."""
    folder = tmp_path_factory.mktemp("examples")
    for label, hertz in LABELS.items():
        (folder / "sounds" / label).mkdir(parents=True)
        for number in range(10):
            wave = np.sin(2 * np.pi * (hertz + number) * np.arange(8000) / 16000)
            soundfile.write(folder / "sounds" / label / f"{number}.wav", wave, 16000)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        load_example("compare_masks").compare_masks(Path("sounds"), TINY)
        yield folder


def load_example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_masks_are_compared_on_a_folder(study_dir: Path) -> None:
    results = ablate.results("reports/my_sounds")
    assert set(results.trials["masker"]) == {"random", "block"}
    assert (study_dir / "reports" / "my_sounds" / "index.html").exists()


def test_scores_are_drawn_seed_by_seed(study_dir: Path) -> None:
    plot = load_example("plot_results")
    plot.plot_pairs("reports/my_sounds", "masker", "random", "block", "pairs.png")
    assert (study_dir / "pairs.png").stat().st_size > 5000


def test_features_of_a_run_are_classified(study_dir: Path) -> None:
    run = ablate.results("reports/my_sounds").trials["fingerprint"].iloc[0]
    example = load_example("classify_features")
    text = example.classify(f"runs/{run}", Path("sounds/manifest.csv"))
    assert re.search(r"accuracy\s+1\.00", text)  # two tones, three octaves apart


def test_the_python_in_the_documentation_runs(study_dir: Path) -> None:
    """Runs the blocks of each page in one namespace, on the study of the example.

    Those of `own_parts.md` run in `test_docs_parts.py`.
    """
    run = ablate.results("reports/my_sounds").trials["fingerprint"].iloc[0]
    here = {
        "reports/tiny": "reports/my_sounds",
        "studies/mine.yaml": "my_sounds.yaml",
        "FOLDER": f"runs/{run}",
        "dog.wav": "sounds/low/0.wav",
    }
    tried = 0
    for page in sorted(ROOT.glob("docs/**/*.md")):
        names = {"__name__": "docs"}
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
            if page.stem != "own_parts":
                for text, value in here.items():
                    block = block.replace(text, value)
                exec(compile(block, page.name, "exec"), names)
                tried += 1
    assert tried >= 5


def test_the_cells_of_the_notebook_run(study_dir: Path) -> None:
    """Runs them on the sounds and the settings of the example, so that nothing is trained again."""
    notebook = json.loads((EXAMPLES / "study.ipynb").read_text())
    sounds = "{type: ablate.audio.sources.Folder, manifest: sounds/manifest.csv}"
    settings = {key: value for key, value in TINY.items() if key != "study"}
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r"\{type: .*Synthetic.*\}", sounds, "".join(cell["source"]))
            source = source.replace('{"budget.steps": 40}', str(settings))
            exec(compile(source, "study.ipynb", "exec"), names)
    plt.close("all")
    assert len(list(Path("runs").glob("*/run.json"))) == NUM_RUNS
    assert len(names["results"].trials) == 4
