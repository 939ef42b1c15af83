"""Every recipe can be planned, trained, resumed and probed, and has its published size."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

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


class InProcessWorker:
    """Replies to requests like a worker, in this process."""

    def __init__(self, cache):
        self.cache = cache

    def request(self, request, on_progress):
        return handle_request(request, self.cache, on_progress, StopSignal())

    def plan(self, request, on_progress):
        return self.request(request, on_progress)


@pytest.fixture(scope="module")
def recipes_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


def load_tiny(name, folder):
    """Loads a study of a recipe with the tiny overlay."""
    file = folder / f"{name}.yaml"
    file.write_text(STUDY.replace("STEM", name).replace("RECIPE", str(RECIPES[name])))
    return loader.load(file)


@every_recipe
def test_a_recipe_trains_stops_resumes_and_is_reported(name, recipes_dir):
    planned = prepare(
        load_tiny(name, recipes_dir), InProcessWorker(recipes_dir / "cache"), Console(quiet=True)
    )
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


def train(text, folder):
    """Trains a study's first trial; returns its run folder."""
    file = folder / f"{abs(hash(text))}.yaml"
    file.write_text(text)
    worker = InProcessWorker(folder / "cache")
    planned = prepare(loader.load(file), worker, Console(quiet=True))
    trained = None
    for job in planned.find_pending(folder / "runs").jobs(folder / "runs", planned.plan.probes):
        ended = worker.request(RunRequest(folder=job.folder, probes=job.probes), lambda _: None)
        assert ended.state == "done", ended
        if json.loads((job.folder / "config.json").read_text())["kind"] == "jepa":
            trained = job.folder
    return trained


FIRST = "{extends: [RECIPE, TINY], data: DATA, budget: {steps: 4, batch: 4}, EXTRA}"


def write_stage(recipe, extra):
    """Writes a tiny study of a recipe with further settings."""
    baseline = FIRST.replace("RECIPE", str(ROOT / "studies" / "recipes" / f"{recipe}.yaml"))
    for name, value in (("TINY", str(TINY)), ("DATA", DATA), ("EXTRA", extra)):
        baseline = baseline.replace(name, value)
    probes = "probes: {knn: {type: ablate.probing.knn.KNN, k: 3}}"
    return f"study: stages\nbaseline: {baseline}\nseeds: 1\n{probes}\nscore: knn.mean\n"


SECOND_STAGES = {"salt": "audiomae", "usad_small": "conformer_ssl"}


@pytest.mark.parametrize("name", SECOND_STAGES)
def test_a_second_stage_trains_on_finished_runs(name, tmp_path):
    first = SECOND_STAGES[name]
    num_teachers = {"salt": 1, "usad_small": 2}[name]
    rates = [f"optimizer: {{rate: {rate}}}" for rate in ("1e-3", "2e-3")[:num_teachers]]
    folders = [train(write_stage(first, rate), tmp_path) for rate in rates]
    listed = ", ".join(map(str, folders))
    teachers = f"{{type: ablate.model.pretrained.FrozenEncoders, folders: [{listed}]}}"
    run = train(write_stage(f"second_stage/{name}", f"target: {teachers}"), tmp_path)
    assert run not in folders


def test_pre_training_continues_from_a_finished_run(tmp_path):
    first = train(write_stage("sony_jepa", "optimizer: {rate: 1e-3}"), tmp_path)
    encoder = f"{{type: ablate.model.pretrained.Pretrained, folder: {first}}}"
    second = train(write_stage("sony_jepa", f"encoder: {encoder}"), tmp_path)
    start, end = (load_file(run / "encoder.safetensors") for run in (first, second))
    assert start.keys() == end.keys()
    weights = "encoder.transformer.layers.0.expand.weight"
    moved = (end[weights] - start[weights]).norm()
    assert 0 < moved < 0.5 * start[weights].norm()


def test_a_second_stage_without_a_finished_run_is_an_error_before_training(tmp_path):
    with pytest.raises(Exception, match="`first_stage` has no trained encoder"):
        train(write_stage("second_stage/salt", ""), tmp_path)


def write_study(name):
    """Writes a study of a recipe at the scale of its paper, on synthetic clips."""
    return f"study: {name}\nbaseline: {{extends: {RECIPES[name]}, data: {DATA}}}\nseeds: 1\n"


def build_trial(text, folder):
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
        ("dasheng", (1, 250), 86),
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
        ("data2vec2", (1, 779), 90.4),
        ("best_rq", (1, 250), 88.1),
        ("hubert", (1, 780), 85.7),
        ("wavlm", (1, 780), 85.7),
        ("mert_rvq", (1, 250), 85.7),
        ("lejepa_audio", (8, 16), 86),
        ("matpac", (5, 38), 86),
        ("nepa", (8, 64), 86),
        ("m2d_x", (5, 38), 86),
        ("s_jepa", (8, 64), 86),
        ("sslam", (8, 64), 86),
        ("vjepa2", (8, 64), 304),
        ("vjepa2_1", (8, 64), 304),
        ("wavjepa_denoise", (1, 200), 90.4),
        ("wavjepa", (1, 200), 90.4),  # wav2vec 2.0 without one layer of its stem, 0.5
    ],
)
def test_a_recipe_has_the_published_tokens_and_weights(name, grid, size, tmp_path):
    trial = build_trial(write_study(name), tmp_path)
    assert (trial.grid.freq, trial.grid.time) == grid
    assert count_weights(trial.encoder, trial) == pytest.approx(size, rel=0.02)


def test_the_small_conformer_has_the_published_weights(tmp_path):
    trial = build_trial(write_study("conformer_ssl"), tmp_path)
    small = replace(trial.encoder, dim=256, heads=8)
    assert count_weights(small, trial) == pytest.approx(18.4, rel=0.02)


def count_weights(encoder, trial):
    """Counts an encoder's weights in millions, without creating them."""
    with torch.device("meta"):
        built = encoder.build(trial.grid, trial.patchifier.pixels)
    return sum(p.numel() for p in built.parameters()) / 1e6


def list_types(part):
    """Returns the types within a part's settings by path."""
    return {path: value for path, value in list_leaves(resolve(part)) if path.endswith("type")}


def list_leaves(value, path=""):
    if isinstance(value, dict):
        for key, child in value.items():
            yield from list_leaves(child, f"{path}.{key}")
    else:
        yield path, value


@every_recipe
def test_the_tiny_overlay_keeps_types_patches_and_masks(name, tmp_path):
    full = build_trial(write_study(name), tmp_path)
    tiny = build_trial(
        write_study(name).replace(
            f"extends: {RECIPES[name]}", f"extends: [{RECIPES[name]}, {TINY}]"
        ),
        tmp_path,
    )
    assert (tiny.mel, tiny.patchifier, tiny.masker) == (full.mel, full.patchifier, full.masker)
    assert list_types(tiny) == list_types(full)
    assert tiny.crop_frames < full.crop_frames
    assert count_weights(tiny.encoder, tiny) < 0.3


def test_every_setting_of_the_tiny_overlay_is_used_by_some_recipe():
    written = {
        path for name in RECIPES for path, _ in list_leaves(loader.read(RECIPES[name]).plain())
    }
    for path, _ in list_leaves(loader.read(TINY).plain()["overlay"]):
        assert path in written or path.startswith(".data."), path
