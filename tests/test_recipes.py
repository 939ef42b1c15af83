"""Every recipe, shrunk by the tiny overlay, is planned, trained, stopped, resumed and probed."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ablate.config import loader
from ablate.core.records.messages import RunRequest
from ablate.parts import build, resolve
from ablate.report import report
from ablate.study.prepare import prepare
from ablate.training.signals import StopSignal
from ablate.worker.dispatch import handle_request
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes

ROOT = Path(__file__).parents[1]
RECIPES = {path.stem: path for path in sorted((ROOT / "studies" / "recipes").glob("*.yaml"))}
TINY = ROOT / "studies" / "recipes" / "scale" / "tiny.yaml"
STEPS = 30
CLIPS = "clips_per_class: 2, valid_per_class: 1, test_per_class: 1"
DATA = f"{{type: ablate.audio.synthetic.Synthetic, {CLIPS}}}"
STUDY = f"""\
study: STEM
baseline:
  extends: [RECIPE, {TINY}]
  data: {DATA}
  budget: {{steps: {STEPS}, batch: 4}}
seeds: 1
probes: {{knn: {{type: ablate.probing.knn.KNN, k: 3}}}}
score: knn.mean
"""
every_recipe = pytest.mark.parametrize("name", RECIPES)


class Here:
    """Answers requests as a worker does, in this process."""

    def __init__(self, cache):
        self.cache = cache

    def request(self, request, on_progress):
        return handle_request(request, self.cache, on_progress, StopSignal())

    def plan(self, request, on_progress):
        return self.request(request, on_progress)


@pytest.fixture(scope="module")
def recipes_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


def shrunk(name, folder):
    file = folder / f"{name}.yaml"
    file.write_text(STUDY.replace("STEM", name).replace("RECIPE", str(RECIPES[name])))
    return loader.load(file)


@every_recipe
def test_a_recipe_trains_stops_resumes_and_is_reported(name, recipes_dir):
    planned = prepare(shrunk(name, recipes_dir), Here(recipes_dir / "cache"), Console(quiet=True))
    jobs = planned.find_pending(recipes_dir / "runs").jobs(
        recipes_dir / "runs", planned.plan.probes
    )
    stopped = StopSignal()
    stopped.signal = signal.SIGTERM
    for job in jobs:
        request, cache = RunRequest(folder=job.folder, probes=job.probes), recipes_dir / "cache"
        trains = json.loads((job.folder / "config.json").read_text())["kind"] == "jepa"
        if trains:
            ended = handle_request(request, cache, lambda progress: None, stopped)
            assert ended.state == "preempted", ended
        ended = handle_request(request, cache, lambda progress: None, StopSignal())
        assert ended.state == "done", ended
        if trains:
            metrics = [
                json.loads(s) for s in (job.folder / "metrics.jsonl").read_text().splitlines()
            ]
            assert metrics[-1]["step"] == STEPS
            assert all(math.isfinite(line["loss"]) for line in metrics)
    written = report.write_report(
        planned.plan, recipes_dir / "runs", recipes_dir / "reports" / name
    )
    assert written.num_failed == 0
    assert "1 of 1 trials scored" in written.page.read_text()


def as_published(name):
    """Writes a study of a recipe at the scale of its paper, on sound that is here."""
    return f"study: {name}\nbaseline: {{extends: {RECIPES[name]}, data: {DATA}}}\nseeds: 1\n"


def trial_of(text, folder):
    file = folder / "study.yaml"
    file.write_text(text)
    return build(convert_sizes({**loader.load(file).baseline.plain(), "seed": 0}), expect=Trial)


@pytest.mark.parametrize(
    ("name", "grid", "size"),
    [  # encoders in millions of weights, as published
        ("audio_jepa", (8, 16), 86),
        ("audio_jepa_shipped", (6, 32), 86),
        ("a_jepa", (8, 64), 86),
        ("conformer_ssl", (1, 250), 88.1),
        ("dasheng", (1, 252), 86),
        ("i_jepa", (8, 64), 632),
        ("v_jepa", (8, 64), 304),
        ("sony_jepa", (5, 13), 86),
        ("m2d", (5, 38), 86),
        ("eat", (8, 64), 86),
        ("audiomae", (8, 64), 86),
        ("atst_frame", (1, 250), 86),
        ("ssast", (8, 64), 86),
        ("data2vec", (1, 499), 90.4),  # 95 with the convolution of its positions, 4.7
        ("wav2vec2", (1, 779), 90.4),
        ("wavjepa", (1, 200), 90.4),  # that of wav2vec 2.0, less a layer of its stem, 0.5
    ],
)
def test_a_recipe_has_the_published_tokens_and_weights(name, grid, size, tmp_path):
    trial = trial_of(as_published(name), tmp_path)
    found = trial.grid
    assert (found.freq, found.time) == grid
    assert weights(trial.encoder, trial) == pytest.approx(size, rel=0.02)


def test_the_small_conformer_has_the_published_weights(tmp_path):
    trial = trial_of(as_published("conformer_ssl"), tmp_path)
    small = replace(trial.encoder, dim=256, heads=8)
    assert weights(small, trial) == pytest.approx(18.4, rel=0.02)


def weights(encoder, trial):
    """Counts an encoder's weights, in millions, without making any."""
    with torch.device("meta"):
        built = encoder.build(trial.grid, trial.patchifier.pixels)
    return sum(p.numel() for p in built.parameters()) / 1e6


def kinds(part):
    """Lists the types within a part's settings, by path."""
    settings = resolve(part)
    return {name: value for name, value in leaves(settings) if name.endswith("type")}


def leaves(value, path=""):
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}")
    else:
        yield path, value


@every_recipe
def test_the_tiny_overlay_keeps_kinds_patches_and_masks(name, tmp_path):
    whole = trial_of(as_published(name), tmp_path)
    tiny = trial_of(
        as_published(name).replace(
            f"extends: {RECIPES[name]}", f"extends: [{RECIPES[name]}, {TINY}]"
        ),
        tmp_path,
    )
    assert (tiny.mel, tiny.patchifier, tiny.masker) == (whole.mel, whole.patchifier, whole.masker)
    assert kinds(tiny) == kinds(whole)
    assert tiny.crop_frames < whole.crop_frames
    assert weights(tiny.encoder, tiny) < 0.3


def test_every_word_of_the_tiny_overlay_is_needed_by_some_recipe():
    written = {path for name in RECIPES for path, _ in leaves(loader.read(RECIPES[name]).plain())}
    for path, _ in leaves(loader.read(TINY).plain()["overlay"]):
        assert path in written or path.startswith(".data."), path
