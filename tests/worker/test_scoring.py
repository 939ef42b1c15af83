"""Scores are keyed by the settings of their probe; features are cached by encoder and audio."""

import json
import tempfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ablate.core.io import read_json
from ablate.core.records.record import FormatError
from ablate.core.records.run import ENCODER_FILE
from ablate.parts import build
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.linear import Logistic
from ablate.probing.neural import Linear
from ablate.probing.views import Views
from ablate.runs import store as run_store
from ablate.runs.predictions import get_predictions_file, read_predictions
from ablate.training.augmentation import RegularisedMasking
from ablate.training.finetuning import FineTuning
from ablate.worker.audio_data import open_audio
from ablate.worker.evaluate import compute_score_key, score_run
from ablate.worker.probe_runner import ProbeRunner
from ablate.worker.trial import Trial
from tests.worker.runs import create_context, create_settings

CPU = torch.device("cpu")


@pytest.fixture
def trial(settings):
    return build(settings, expect=Trial)


@pytest.fixture
def audio(trial, cache):
    return open_audio(trial.data, trial.mel, cache)


def score(folder, evaluable, probes, audio, cache):
    return score_run(folder, evaluable, probes, audio, create_context(cache))


def read_speech_scores(folder, probe):
    return read_json(folder / "probes" / "speech" / f"{compute_score_key(probe)}.json")["scores"]


@pytest.fixture
def encoded_clips(monkeypatch):
    """Lists the clips that are encoded."""
    from ablate.worker import probe_runner

    encoded = []
    extract = probe_runner.extract_features

    def extract_and_record(reader, store, clips, views, **options):
        encoded.extend(clips)
        return extract(reader, store, clips, views, **options)

    monkeypatch.setattr(probe_runner, "extract_features", extract_and_record)
    return encoded


def test_the_keys_of_scores_are_pinned():
    keys = [compute_score_key(probe) for probe in (KNN(k=10), KNN(k=3), Logistic())]
    assert keys == ["33dd0e94ee", "d2dfca2159", "bea21a3c7d"]
    few = (KNN(k=10, shots=4), Logistic(label_share=0.5), Linear(choice="last", shots=4), Linear())
    keys = [compute_score_key(probe) for probe in few]
    assert keys == ["abe9434586", "b170cd17c4", "b3cf59de45", "eb73b10489"]


def test_few_labels_that_were_drawn_with_the_fold_to_select_by_are_scored_again():
    keys = [compute_score_key(probe) for probe in (Linear(shots=4), Linear(label_share=0.5))]
    assert not {"a0adce6ec6", "7709fd261c"} & set(keys)


def test_a_score_file_of_another_format_is_rejected_with_the_remedy(tmp_path):
    settings = {"type": "ablate.probing.knn.KNN", "k": 10, "temperature": 0.07}
    file = tmp_path / "probes" / "speech" / "33dd0e94ee.json"
    file.parent.mkdir(parents=True)
    scores = {"concat_freq": {"valid": 1.0, "test": 2.0, "folds": []}}
    file.write_text(json.dumps({"task": "speech", "settings": settings, "scores": scores}))
    with pytest.raises(FormatError, match=r"33dd0e94ee\.json has no `format`.*run the study again"):
        run_store.read_score(tmp_path, settings, "concat_freq")


def test_another_probe_of_the_same_views_encodes_nothing(tmp_path, trial, audio, encoded_clips):
    folder, own_cache, total = tmp_path / "run", tmp_path / "features", len(audio.store.clips)
    score(folder, trial.random_init, {"knn": KNN()}, audio, own_cache)
    assert len(encoded_clips) == total
    first = read_speech_scores(folder, KNN())
    assert score(folder, trial.random_init, {"knn": KNN(k=3)}, audio, own_cache) == ["knn"]
    assert len(encoded_clips) == total
    assert read_speech_scores(folder, KNN()) == first
    deeper = KNN(views=Views(poolings=("max",), layers=("each", "mean")))
    score(folder, trial.random_init, {"deep": deeper}, audio, own_cache)
    assert len(encoded_clips) == 2 * total
    assert set(read_speech_scores(folder, deeper)) == {"layer1.max", "mean_layers.max"}


def test_cached_features_equal_the_computed_ones(tmp_path, trial, audio):
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
        {"data": {**create_settings()["data"], "clips_per_class": 3}},
    ],
)
def test_every_setting_that_affects_features_changes_their_key(settings, cache, tmp_path, change):
    keys = set()
    for changed in (settings, {**settings, **change}):
        trial = build(changed, expect=Trial)
        audio = open_audio(trial.data, trial.mel, cache)
        for evaluable in (trial.random_init, trial.statistics):
            keys.add(ProbeRunner(tmp_path, evaluable, audio, CPU).key)
    same_baseline = not {"mel", "data"} & set(change)
    assert len(keys) == 4 - same_baseline


def test_different_weights_change_the_key_of_features(tmp_path, trial, audio):
    state = trial.random_init.build_encoder().state_dict()
    save_file({f"encoder.{name}": value for name, value in state.items()}, tmp_path / ENCODER_FILE)
    first = ProbeRunner(tmp_path, trial, audio, CPU).key
    assert first == ProbeRunner(tmp_path, trial.random_init, audio, CPU).key  # the same bits
    weights = load_file(tmp_path / ENCODER_FILE)
    weights["encoder.project.weight"][0, 0] += 1e-6
    save_file(weights, tmp_path / ENCODER_FILE)
    assert ProbeRunner(tmp_path, trial, audio, CPU).key != first


def test_probes_with_different_settings_have_different_score_files(tmp_path, trial, audio, cache):
    for probe in (KNN(), KNN(views=Views(layers=("each",))), KNN(k=9), Logistic()):
        score(tmp_path, trial.random_init, {"probe": probe}, audio, cache)
    assert len(list((tmp_path / "probes" / "speech").glob("*.json"))) == 4


def test_the_predictions_of_every_test_clip_give_the_score(tmp_path, trial, audio, cache):
    probe = Logistic()
    score(tmp_path, trial.random_init, {"probe": probe}, audio, cache)
    file = tmp_path / "probes" / "speech" / f"{compute_score_key(probe)}.json"
    scores = read_speech_scores(tmp_path, probe)
    kept = read_predictions(get_predictions_file(file))
    assert {(each.pooling, each.part) for each in kept} == {
        (pooling, part) for pooling in scores for part in ("valid", "test")
    }
    for each in kept:
        accuracy = 100 * each.correct.mean()
        assert accuracy == pytest.approx(scores[each.pooling][each.part])


def test_fine_tuning_scores_a_run_once_per_settings(tmp_path, trial, audio, cache):
    plain = FineTuning(steps=3, batch=4)
    augmented = FineTuning(steps=3, batch=4, augmentation=RegularisedMasking())
    assert score(tmp_path, trial.random_init, {"tuned": plain}, audio, cache) == ["tuned"]
    assert score(tmp_path, trial.random_init, {"tuned": plain}, audio, cache) == []
    assert score(tmp_path, trial.random_init, {"tuned": augmented}, audio, cache) == ["tuned"]
    for probe in (plain, augmented):
        [(pooling, scores)] = read_speech_scores(tmp_path, probe).items()
        assert pooling == "mean"
        assert 0 <= scores["test"] <= 100


def test_fine_tuning_has_no_score_without_an_encoder(tmp_path, trial, audio, cache):
    score(tmp_path, trial.statistics, {"tuned": FineTuning(steps=3)}, audio, cache)
    assert read_speech_scores(tmp_path, FineTuning(steps=3)) == {}


def test_temporary_features_are_written_to_the_cache_and_deleted(
    tmp_path, trial, audio, cache, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    probe = Attentive()
    assert score(tmp_path / "run", trial.random_init, {"attentive": probe}, audio, cache) == [
        "attentive"
    ]
    assert not list((cache / "features").glob("temporary-*"))


def test_log_mel_statistics_have_the_poolings_of_the_encoder_and_baselines_but_no_layers(
    tmp_path, trial, audio
):
    runner = ProbeRunner(tmp_path, trial.statistics, audio, CPU)
    probe, [task, *_] = KNN(views=Views(poolings=("max", "summary"))), audio.tasks
    names = [view.name for view in runner.list_views(probe, task)]
    assert names == ["max", "mean_std", "deltas", "segments4", "modulation"]
