"""A training is looked at on its way, and goes on as if nobody had looked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ablate.core.records.plan import EvaluatePlan
from ablate.parts import PartError, build
from ablate.probing.tasks import Task
from ablate.runs.store import write_config
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.online_probe import build_online_probe, subsample_task
from ablate.worker.probes import build_probes
from ablate.worker.run import run
from ablate.worker.trial import Trial, open_audio
from tests.worker.plan_trials import plan_trial, plan_trials

CPU = torch.device("cpu")
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}
EVALUATE = EvaluatePlan(every=25, clips=100, probe="knn", pooling="concat_freq")


def silent(event):
    """Hears nothing."""


@pytest.fixture
def entry(settings, cache):
    settings["encoder"]["drop_path"] = 0.3
    return plan_trial(settings, cache, PROBES, evaluate=EVALUATE)


@pytest.fixture
def new_run(entry, tmp_path):
    def make(name, *, random_init=False):
        config = entry.random_init if random_init else entry
        folder = tmp_path / name / config.fingerprint
        folder.mkdir(parents=True)
        write_config(folder, kind=config.kind, settings=config.settings)
        return folder

    return make


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scores_of(folder):
    """The validation score of each task, as the probes have left it."""
    files = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("probes/*/*")}
    return {task: content["scores"]["concat_freq"]["valid"] for task, content in files.items()}


def test_a_training_that_is_looked_at_ends_in_the_same_bits(new_run, cache):
    alone, seen, events = new_run("alone"), new_run("seen"), []
    run(alone, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    run(seen, PROBES, RunContext(CPU, cache, events.append, StopSignal()), evaluate=EVALUATE)
    one, other = (load_file(folder / "encoder.safetensors") for folder in (alone, seen))
    assert all(torch.equal(one[name], other[name]) for name in one | other)
    assert [line["step"] for line in lines_of(seen)] == [0, 25, 50, 60]
    by_step = {line["step"]: line for line in lines_of(seen)}
    for line in lines_of(alone):
        here = by_step[line["step"]]
        assert {name for name in here if name.startswith("online")} == here.keys() - line.keys()
        assert all(here[name] == line[name] for name in line if name != "tokens_per_second")
    assert "online score" in [event for event in events if event.loss is not None][-1].label


def test_the_first_score_is_the_twins_and_the_last_that_of_the_run(new_run, cache):
    trained, twin = new_run("trained"), new_run("twin", random_init=True)
    run(trained, PROBES, RunContext(CPU, cache, silent, StopSignal()), evaluate=EVALUATE)
    run(twin, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    first, *_, last = lines_of(trained)
    assert first["online_scores"] == pytest.approx(scores_of(twin), rel=1e-5)
    assert last["online_scores"] == pytest.approx(scores_of(trained), rel=1e-5)
    metrics = json.loads((trained / "run.json").read_text())["metrics"]
    assert metrics["online_score_init"] == pytest.approx(first["online_score"], rel=1e-5)
    assert metrics["online_score"] == pytest.approx(last["online_score"], rel=1e-5)
    assert metrics["online_seconds"] > 0


@given(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=1, max_size=30), st.data())
def test_the_clips_are_of_the_training_and_validation_parts(splits, data):
    most = data.draw(st.integers(1, 12))
    named = np.array(splits)
    parts = {part: np.flatnonzero(named == part) for part in sorted(set(splits))}
    labels = np.arange(len(splits)) % 3
    clips = 100 + np.arange(len(splits))
    task = Task("t", "single", ("a", "b", "c"), clips, labels, parts, folded=False)
    few = subsample_task(task, most)
    if not {"train", "valid"} <= parts.keys():
        assert few is None
        return
    assert few is not None
    assert few.parts.keys() == {"train", "valid"}
    for part, places in few.parts.items():
        assert len(places) == min(most, len(parts[part]))
        assert set(few.clips[places] - 100) <= set(parts[part])
    assert np.array_equal(few.labels, labels[few.clips - 100])
    assert len(set(few.clips)) == len(few.clips) == sum(map(len, few.parts.values()))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(1, 12))
def test_few_clips_to_learn_from_are_of_as_many_classes_as_they_can_be(labels, most):
    every, parts = np.arange(len(labels)), {"train": np.arange(1, len(labels)), "valid": [0]}
    parts["valid"] = np.array(parts["valid"])
    task = Task("t", "single", tuple("abcd"), every, np.array(labels), parts, folded=False)
    few = subsample_task(task, most)
    assert few is not None
    classes = set(few.labels[few.parts["train"]].tolist())
    assert len(classes) == min(most, len(set(labels[1:])))


def test_a_single_training_class_is_an_error(new_run, cache):
    one = replace(EVALUATE, clips=1)
    ended = run(new_run("run"), PROBES, RunContext(CPU, cache, silent, StopSignal()), evaluate=one)
    assert ended.state == "failed"
    assert "the training clips of task `environment` have only one class; raise" in ended.reason


def test_an_encoder_keeps_its_training_mode(entry, cache):
    trial = build(entry.settings, expect=Trial)
    audio = open_audio(trial.data, trial.mel, cache)
    look = build_online_probe(
        EVALUATE, build_probes(PROBES), trial, audio, RunContext(CPU, cache, silent, StopSignal())
    )
    encoder = trial.random_init.build_encoder()
    for mode in (True, False):
        encoder.train(mode)
        before = torch.get_rng_state()
        assert look.evaluate(encoder).keys() == {"environment", "music", "speech"}
        assert encoder.training is mode
        assert torch.equal(torch.get_rng_state(), before)


def test_a_pooling_that_the_probe_lacks_is_an_error(new_run, cache, settings):
    tuned = {"tuned": {"type": "ablate.training.finetuning.FineTuning"}}
    with pytest.raises(PartError, match="`tuned` trains the encoder itself"):
        plan_trials([settings], tuned, cache, evaluate=replace(EVALUATE, probe="tuned"))
    unknown = replace(EVALUATE, pooling="layer7.concat_freq")
    ended = run(
        new_run("run"), PROBES, RunContext(CPU, cache, silent, StopSignal()), evaluate=unknown
    )
    assert ended.state == "failed"
    assert "its probe scores mean, mean_std, concat_freq" in ended.reason
