"""Running a folder trains and scores what is missing, and records how it ended."""

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from ablate.core.records.messages import RunReply
from ablate.parts import build
from ablate.runs import store
from ablate.worker import train
from ablate.worker.trial import Trial
from tests.worker.runs import (
    create_run_folder,
    have_same_weights,
    load_weights,
    plan_trial,
    plan_trials,
    read_metrics,
    read_run_json,
    run_folder,
)

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


@pytest.fixture
def folder(settings, cache, tmp_path):
    return create_run_folder(tmp_path / "run", plan_trial(settings, cache, PROBES))


def test_a_run_writes_its_record_metrics_pictures_scores_and_encoder(folder, cache):
    events = []
    ended = run_folder(folder, cache, PROBES, emit=events.append)
    assert ended == RunReply(state="done", trained=True, probed=("knn",))
    record = read_run_json(folder)
    assert record["state"] == "done"
    assert record["cost"]["steps"] == 60
    assert record["cost"]["clips"] == 240
    assert 0 < record["metrics"]["context_fraction"] < 1
    lines = read_metrics(folder)
    assert [line["step"] for line in lines] == [50, 60]
    assert lines[-1]["rate"] == 0
    assert lines[-1]["momentum"] == 1
    assert (folder / "heartbeat.json").exists()
    assert list((folder / "tb").glob("events*"))
    assert {path.parent.name for path in folder.glob("probes/*/*.json")} == {
        "environment",
        "music",
        "speech",
    }
    assert events[-1].label == "probe"


def test_progress_is_reported_between_metrics(folder, cache, monkeypatch):
    monkeypatch.setattr(train, "REPORT_SECONDS", 0.0)
    events = []
    run_folder(folder, cache, {}, emit=events.append)
    steps = [event.done for event in events if event.label == "train"]
    assert set(steps) == set(range(1, 61))
    last = [event for event in events if event.label == "train"][-1]
    assert last.total == 60
    assert last.loss is not None


def test_a_finished_run_is_not_repeated(folder, cache):
    run_folder(folder, cache, PROBES)
    before = (folder / "encoder.safetensors").stat().st_mtime_ns
    assert run_folder(folder, cache, PROBES).probed == ()
    assert (folder / "encoder.safetensors").stat().st_mtime_ns == before


def test_another_probe_is_scored_without_training_again(folder, cache):
    run_folder(folder, cache, PROBES)
    cost = read_run_json(folder)["cost"]
    other = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
    ended = run_folder(folder, cache, other)
    assert ended == RunReply(state="done", trained=False, probed=("knn",))
    assert len(list(folder.glob("probes/speech/*.json"))) == 2
    assert read_run_json(folder)["cost"] == cost


def stop_while_scoring(folder, cache, *, until=None):
    """Runs a trial whose process is stopped once the first task is scored."""

    def stop_after_first_task(event):
        if event.label == "probe" and event.done == 1:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run_folder(folder, cache, PROBES, emit=stop_after_first_task, until=until)


def get_protocols(settings, cache):
    return plan_trials([settings], PROBES, cache).probes


def test_an_interrupted_scoring_is_completed_when_the_run_is_resumed(folder, settings, cache):
    probes = get_protocols(settings, cache)
    stop_while_scoring(folder, cache)
    assert [path.parent.name for path in folder.glob("probes/*/*.json")] == ["environment"]
    assert read_run_json(folder)["state"] == "done"
    assert store.find_missing_probes(folder, probes) == ["knn"]
    assert store.read_score(folder, probes["knn"], "mean", part="valid") is None
    assert run_folder(folder, cache, PROBES).trained is False
    assert store.find_missing_probes(folder, probes) == []
    assert store.read_score(folder, probes["knn"], "mean", part="valid") is not None


def test_a_partly_scored_rung_has_no_score(folder, settings, cache):
    stop_while_scoring(folder, cache, until=20)
    rung = folder / "rungs" / "20"
    assert len(list(rung.glob("probes/*/*.json"))) == 1
    assert (
        store.read_score(rung, get_protocols(settings, cache)["knn"], "mean", part="valid") is None
    )


def test_results_do_not_depend_on_earlier_trials_of_the_process(settings, cache, tmp_path):
    entry = plan_trial(settings, cache, PROBES)
    other = plan_trial({**settings, "masker": {"type": "maskers.Random"}}, cache, PROBES)
    first = create_run_folder(tmp_path / "first", entry)
    run_folder(first, cache, PROBES)
    between = create_run_folder(tmp_path / "between", other)
    run_folder(between, cache, PROBES)
    second = create_run_folder(tmp_path / "second", entry)
    run_folder(second, cache, PROBES)
    fresh = create_run_folder(tmp_path / "fresh", entry)
    command = [sys.executable, "-m", "ablate.worker", str(fresh), "--cache", str(cache)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    assert have_same_weights(first, second)
    assert have_same_weights(first, fresh)
    assert not have_same_weights(first, between)


def test_training_changes_the_encoder_from_its_random_init(folder, settings, cache):
    run_folder(folder, cache, PROBES)
    trained = load_weights(folder)
    initial = build(settings, expect=Trial).random_init.build_encoder().state_dict()
    assert set(initial) == {n.removeprefix("encoder.") for n in trained if n.startswith("encoder.")}
    assert not all(torch.equal(initial[name], trained[f"encoder.{name}"]) for name in initial)


@pytest.mark.parametrize("kind", ["random_init", "mel_statistics"])
def test_the_references_are_scored_without_training(settings, cache, tmp_path, kind):
    trial = plan_trial(settings, cache, PROBES)
    config = trial.random_init if kind == "random_init" else trial.statistics
    folder = create_run_folder(tmp_path / kind, config)
    assert run_folder(folder, cache, PROBES).trained is False
    [file] = folder.glob("probes/speech/*.json")
    poolings = set(json.loads(file.read_text())["scores"])
    every = {"mean", "mean_std", "concat_freq"}
    baselines = {"deltas", "segments4", "modulation"}
    assert poolings == (every if kind == "random_init" else every | baselines)


def test_a_loss_that_is_not_finite_fails_the_run_with_its_reason(settings, cache, tmp_path):
    wild = {**settings, "optimizer": {"rate": 1e30, "clip": 0.0, "warmup": 0.0}}
    folder = create_run_folder(tmp_path / "run", plan_trial(wild, cache, PROBES))
    ended = run_folder(folder, cache, PROBES)
    assert ended.state == "failed"
    assert ended.reason.startswith("nan: the loss is not finite at step")
    assert "no checkpoint before it" in ended.reason
    assert read_run_json(folder)["reason"] == ended.reason
    assert not (folder / "encoder.safetensors").exists()


def test_a_collapse_ends_the_run_only_with_on_collapse_stop(settings, cache, tmp_path):
    spoilt = {"rate": 0.1, "warmup": 0.0, "momentum": [0, 0], "weight_decay": [0.99, 0.99]}
    wild = {**settings, "optimizer": spoilt}
    warned = create_run_folder(tmp_path / "warned", plan_trial(wild, cache, PROBES))
    assert run_folder(warned, cache, PROBES).state == "done"
    assert read_run_json(warned)["collapsed"]
    assert read_run_json(warned)["warnings"][0].startswith("collapsed: effective rank")
    stopped = create_run_folder(
        tmp_path / "stopped", plan_trial({**wild, "on_collapse": "stop"}, cache, PROBES)
    )
    assert stopped.name != warned.name
    ended = run_folder(stopped, cache, PROBES)
    assert ended.state == "failed"
    assert ended.reason.startswith("collapsed: effective rank")


def test_any_exception_of_a_user_part_is_recorded(settings, cache, tmp_path, monkeypatch):
    (tmp_path / "rare_lab.py").write_text(
        "from dataclasses import dataclass\n"
        "from maskers import Random\n"
        "from ablate.model.masking import AbstractMasker\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Rare(AbstractMasker):\n"
        "    promises = Random().promises\n"
        "    def draw(self, clips, generator):\n"
        "        if 0.5 < clips.progress < 0.52: raise KeyError('rarely seen')\n"
        "        return Random().draw(clips, generator)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rare = {**settings, "masker": {"type": "rare_lab.Rare"}}
    folder = create_run_folder(tmp_path / "run", plan_trial(rare, cache, PROBES))
    ended = run_folder(folder, cache, PROBES)
    assert ended == RunReply(state="failed", reason="error: KeyError: 'rarely seen'")
    [log] = folder.glob("attempts/*/log.txt")
    assert "rare_lab.py" in log.read_text()


def test_silent_and_one_sample_clips_are_probed_with_finite_features(settings, cache, tmp_path):
    rows = ["path,label,split"]
    for index in range(12):
        samples = {0: np.zeros(16000), 1: np.full(1, 0.5)}.get(
            index, np.random.default_rng(index).normal(size=12000) * 0.1
        )
        soundfile.write(tmp_path / f"{index}.wav", samples, 16000)
        rows.append(f"{index}.wav,{'ab'[index % 2]},{('train', 'test')[index // 6]}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    manifest = str(tmp_path / "metadata.csv")
    settings = copy.deepcopy(settings)
    settings["data"] = {"type": "ablate.audio.sources.Folder", "manifest": manifest}
    settings["patchifier"] |= {"freq": 32, "time": 4}
    folder = create_run_folder(tmp_path / "run", plan_trial(settings, cache, PROBES))
    assert run_folder(folder, cache, PROBES).state == "done"
    [file] = folder.glob("probes/*/*.json")
    assert 0 <= json.loads(file.read_text())["scores"]["mean"]["test"] <= 100
