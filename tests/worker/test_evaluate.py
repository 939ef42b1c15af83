"""What a score is keyed by, and that features are computed once and never mistaken."""

import json
import tempfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ablate.core.io import read_json
from ablate.core.records.record import FormatError
from ablate.parts import build
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.linear import Logistic
from ablate.probing.views import Views
from ablate.runs import store as run_store
from ablate.training.augmentation import RegularisedMasking
from ablate.training.finetuning import FineTuning
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.evaluate import ENCODER, ProbeRunner, compute_score_key, score_run
from ablate.worker.trial import Trial, open_audio

CPU = torch.device("cpu")


def silent(event):
    """Hears nothing."""


@pytest.fixture
def trial(settings):
    return build(settings, expect=Trial)


@pytest.fixture
def audio(trial, cache):
    return open_audio(trial.data, trial.mel, cache)


def scored(folder, evaluable, probes, audio, cache):
    return score_run(folder, evaluable, probes, audio, RunContext(CPU, cache, silent, StopSignal()))


def scores_of(folder, probe, task="speech"):
    return read_json(folder / "probes" / task / f"{compute_score_key(probe)}.json")["scores"]


@pytest.fixture
def encoded(monkeypatch):
    """Counts the clips that are encoded."""
    from ablate.worker import evaluate

    counts = [0]
    encode = evaluate.extract_features

    def counting(reader, store, clips, views, **options):
        counts[0] += len(clips)
        return encode(reader, store, clips, views, **options)

    monkeypatch.setattr(evaluate, "extract_features", counting)
    return counts


def test_scores_of_the_first_release_keep_their_keys():
    keys = [compute_score_key(probe) for probe in (KNN(k=10), KNN(k=3), Logistic())]
    assert keys == ["33dd0e94ee", "d2dfca2159", "bea21a3c7d"]


def test_a_score_file_of_the_first_release_is_refused_with_the_remedy(tmp_path):
    settings = {"type": "ablate.probing.knn.KNN", "k": 10, "temperature": 0.07}
    file = tmp_path / "probes" / "speech" / "33dd0e94ee.json"
    file.parent.mkdir(parents=True)
    scores = {"concat_freq": {"valid": 1.0, "test": 2.0, "folds": []}}
    file.write_text(json.dumps({"task": "speech", "settings": settings, "scores": scores}))
    with pytest.raises(FormatError, match=r"33dd0e94ee\.json has no `format`.*run the study again"):
        run_store.read_score(tmp_path, settings, "concat_freq")


def test_another_probe_reads_the_same_features_again(tmp_path, trial, audio, cache, encoded):
    own = tmp_path / "features"
    scored(tmp_path / "run", trial.random_init, {"knn": KNN()}, audio, own)
    assert encoded[0] == len(audio.store.clips)
    first = scores_of(tmp_path / "run", KNN())
    assert scored(tmp_path / "run", trial.random_init, {"knn": KNN(k=3)}, audio, own) == ["knn"]
    assert encoded[0] == len(audio.store.clips)
    assert scores_of(tmp_path / "run", KNN()) == first
    deeper = KNN(views=Views(poolings=("max",), layers=("each", "mean")))
    scored(tmp_path / "run", trial.random_init, {"deep": deeper}, audio, own)
    assert encoded[0] == 2 * len(audio.store.clips)
    assert set(scores_of(tmp_path / "run", deeper)) == {"layer1.max", "mean_layers.max"}


def test_what_is_read_back_is_what_was_computed(tmp_path, trial, audio):
    runner, [task, *_] = ProbeRunner(tmp_path, trial.random_init, audio, CPU), audio.tasks
    computed = [
        runner.compute_features(task, [KNN()], tmp_path, tmp_path / str(i)) for i in range(2)
    ]
    fresh = runner.compute_features(task, [KNN()], tmp_path / "other", tmp_path)
    for view, features in fresh.items():
        assert len(features.rows) == len(task.clips)
        for again in computed:
            assert np.array_equal(again[view].rows, features.rows)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"crop_frames": 32},
        {"patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 8}},
        {"encoder": {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 4}},
        {"mel": {"type": "ablate.audio.mel.LogMel", "bands": 32, "f_min": 100.0}},
        {"data": {"type": "ablate.audio.synthetic.Synthetic", "clips_per_class": 3}},
    ],
)
def test_features_of_another_configuration_lie_elsewhere(settings, cache, tmp_path, change):
    keys = set()
    for changed in (settings, {**settings, **change}):
        trial = build(changed, expect=Trial)
        audio = open_audio(trial.data, trial.mel, cache)
        for evaluable in (trial.random_init, trial.statistics):
            keys.add(ProbeRunner(tmp_path, evaluable, audio, CPU).key)
    same_baseline = not {"mel", "data"} & set(change)
    assert len(keys) == 4 - same_baseline


def test_a_run_trained_again_to_other_weights_shares_no_features(tmp_path, trial, audio):
    state = trial.random_init.build_encoder().state_dict()
    save_file({f"encoder.{name}": value for name, value in state.items()}, tmp_path / ENCODER)
    first = ProbeRunner(tmp_path, trial, audio, CPU).key
    assert first == ProbeRunner(tmp_path, trial.random_init, audio, CPU).key  # the same bits
    weights = load_file(tmp_path / ENCODER)
    weights["encoder.project.weight"][0, 0] += 1e-6
    save_file(weights, tmp_path / ENCODER)
    assert ProbeRunner(tmp_path, trial, audio, CPU).key != first


def test_scores_of_two_configurations_lie_in_two_places(tmp_path, trial, audio, cache):
    for probe in (KNN(), KNN(views=Views(layers=("each",))), KNN(k=9), Logistic()):
        scored(tmp_path, trial.random_init, {"probe": probe}, audio, cache)
    assert len(list((tmp_path / "probes" / "speech").glob("*.json"))) == 4


def test_fine_tuning_scores_a_run_once_and_anew_where_its_settings_differ(
    tmp_path, trial, audio, cache
):
    plain = FineTuning(steps=3, batch=4)
    barring = FineTuning(steps=3, batch=4, augmentation=RegularisedMasking())
    assert scored(tmp_path, trial.random_init, {"tuned": plain}, audio, cache) == ["tuned"]
    assert scored(tmp_path, trial.random_init, {"tuned": plain}, audio, cache) == []
    assert scored(tmp_path, trial.random_init, {"tuned": barring}, audio, cache) == ["tuned"]
    for probe in (plain, barring):
        [(pooling, score_run)] = scores_of(tmp_path, probe).items()
        assert pooling == "mean"
        assert 0 <= score_run["test"] <= 100


def test_what_has_no_encoder_is_not_fine_tuned(tmp_path, trial, audio, cache):
    scored(tmp_path, trial.statistics, {"tuned": FineTuning(steps=3)}, audio, cache)
    assert scores_of(tmp_path, FineTuning(steps=3)) == {}


def test_tokens_pass_through_the_cache_and_not_through_the_systems_own_folder(
    tmp_path, trial, audio, cache, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    probe = Attentive()
    assert scored(tmp_path / "run", trial.random_init, {"attentive": probe}, audio, cache) == [
        "attentive"
    ]
    assert not list((cache / "features").glob("passing-*"))


def test_log_mel_statistics_have_one_view(tmp_path, trial, audio):
    runner = ProbeRunner(tmp_path, trial.statistics, audio, CPU)
    probe, [task, *_] = KNN(views=Views(layers=("each",))), audio.tasks
    assert [view.name for view in runner.list_views(probe, task)] == ["mean_std"]
