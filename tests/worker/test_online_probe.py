"""The online probe scores an encoder during training without changing the training."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.records.plan import EvaluatePlan
from ablate.parts import PartError, build
from ablate.probing.knn import KNN
from ablate.probing.tasks import Task
from ablate.probing.views import Views
from ablate.worker.audio_data import open_audio
from ablate.worker.online_probe import build_online_probe, subsample_task
from ablate.worker.probes import build_probes
from ablate.worker.trial import Trial
from tests.worker.runs import (
    create_context,
    create_run_folder,
    have_same_weights,
    plan_trial,
    plan_trials,
    read_metrics,
    read_run_json,
    run_folder,
)

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}
EVALUATE = EvaluatePlan(every=25, clips=100, probe="knn", pooling="concat_freq")


@pytest.fixture
def entry(settings, cache):
    settings["encoder"]["drop_path"] = 0.3
    return plan_trial(settings, cache, PROBES, evaluate=EVALUATE)


@pytest.fixture
def new_run(entry, tmp_path):
    """Returns a function that creates run folders: `new_run(name, random_init=False)`."""

    def create(name, *, random_init=False):
        return create_run_folder(tmp_path / name, entry.random_init if random_init else entry)

    return create


def read_valid_scores(folder):
    """Reads the validation score of each task from the score files."""
    files = {
        path.parent.name: json.loads(path.read_text()) for path in folder.glob("probes/*/*.json")
    }
    return {task: content["scores"]["concat_freq"]["valid"] for task, content in files.items()}


def test_an_online_probe_changes_no_bit_of_the_training(new_run, cache):
    plain, probed, messages = new_run("plain"), new_run("probed"), []
    run_folder(plain, cache, PROBES)
    run_folder(probed, cache, PROBES, emit=messages.append, evaluate=EVALUATE)
    assert have_same_weights(plain, probed)
    assert [line["step"] for line in read_metrics(probed)] == [0, 25, 50, 60]
    by_step = {line["step"]: line for line in read_metrics(probed)}
    for line in read_metrics(plain):
        same_step = by_step[line["step"]]
        added = same_step.keys() - line.keys()
        assert added == {name for name in same_step if name.startswith("online")}
        assert all(same_step[name] == line[name] for name in line if name != "tokens_per_second")
    assert "online score" in [m for m in messages if m.loss is not None][-1].label


def test_the_first_score_is_that_at_random_init_and_the_last_that_of_the_run(new_run, cache):
    trained, random_init = new_run("trained"), new_run("random_init", random_init=True)
    run_folder(trained, cache, PROBES, evaluate=EVALUATE)
    run_folder(random_init, cache, PROBES)
    first, *_, last = read_metrics(trained)
    assert first["online_scores"] == pytest.approx(read_valid_scores(random_init), rel=1e-5)
    assert last["online_scores"] == pytest.approx(read_valid_scores(trained), rel=1e-5)
    metrics = read_run_json(trained)["metrics"]
    assert metrics["online_score_init"] == pytest.approx(first["online_score"], rel=1e-5)
    assert metrics["online_score"] == pytest.approx(last["online_score"], rel=1e-5)
    assert metrics["online_seconds"] > 0


@given(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=1, max_size=30), st.data())
def test_subsampled_clips_are_of_the_training_and_validation_parts(splits, data):
    max_clips = data.draw(st.integers(1, 12))
    parts = {part: np.flatnonzero(np.array(splits) == part) for part in sorted(set(splits))}
    labels = np.arange(len(splits)) % 3
    clips = 100 + np.arange(len(splits))
    task = Task("t", "single", ("a", "b", "c"), clips, labels, parts, folded=False)
    small = subsample_task(task, max_clips)
    if not {"train", "valid"} <= parts.keys():
        assert small is None
        return
    assert small is not None
    assert small.parts.keys() == {"train", "valid"}
    for part, indices in small.parts.items():
        assert len(indices) == min(max_clips, len(parts[part]))
        assert set(small.clips[indices] - 100) <= set(parts[part])
    assert np.array_equal(small.labels, labels[small.clips - 100])
    assert len(set(small.clips)) == len(small.clips) == sum(map(len, small.parts.values()))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(1, 12))
def test_subsampled_training_clips_cover_as_many_classes_as_possible(labels, max_clips):
    clips = np.arange(len(labels))
    parts = {"train": clips[1:], "valid": clips[:1]}
    task = Task("t", "single", tuple("abcd"), clips, np.array(labels), parts, folded=False)
    small = subsample_task(task, max_clips)
    assert small is not None
    classes = set(small.labels[small.parts["train"]].tolist())
    assert len(classes) == min(max_clips, len(set(labels[1:])))


def test_a_single_training_class_is_an_error(new_run, cache):
    one_clip = replace(EVALUATE, clips=1)
    ended = run_folder(new_run("run"), cache, PROBES, evaluate=one_clip)
    assert ended.state == "failed"
    assert "the training clips of task `environment` have only one class; raise" in ended.reason


def test_an_encoder_keeps_its_training_mode(entry, cache):
    trial = build(entry.settings, expect=Trial)
    audio = open_audio(trial.data, trial.mel, cache)
    online_probe = build_online_probe(
        EVALUATE, build_probes(PROBES), trial, audio, create_context(cache)
    )
    encoder = trial.random_init.build_encoder()
    for mode in (True, False):
        encoder.train(mode)
        before = torch.get_rng_state()
        assert online_probe.evaluate(encoder).keys() == {"environment", "music", "speech"}
        assert encoder.training is mode
        assert torch.equal(torch.get_rng_state(), before)


def test_a_probe_gets_the_shape_of_layers_that_lie_side_by_side(entry, cache):
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(KNN):
        def predict(self, data):
            seen.append((data.layers, data.features.shape[1]))
            return super().predict(data)

    deeper = {**entry.settings["encoder"], "layers": 2}
    trial = build({**entry.settings, "encoder": deeper}, expect=Trial)
    probe = Watching(views=Views(layers=("concat",), poolings=("mean",)))
    evaluate = replace(EVALUATE, pooling="concat_layers.mean")
    audio = open_audio(trial.data, trial.mel, cache)
    online = build_online_probe(evaluate, {"knn": probe}, trial, audio, create_context(cache))
    online.evaluate(trial.random_init.build_encoder())
    assert set(seen) == {((2, 16), 32)}


def test_a_pooling_that_the_probe_lacks_is_an_error(new_run, cache, settings):
    tuned = {"tuned": {"type": "ablate.training.finetuning.FineTuning"}}
    with pytest.raises(PartError, match="`tuned` trains the encoder itself"):
        plan_trials([settings], tuned, cache, evaluate=replace(EVALUATE, probe="tuned"))
    unknown = replace(EVALUATE, pooling="layer7.concat_freq")
    ended = run_folder(new_run("run"), cache, PROBES, evaluate=unknown)
    assert ended.state == "failed"
    assert "its probe scores mean, mean_std, concat_freq" in ended.reason
