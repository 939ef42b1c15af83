"""A run folder from its settings to its scores."""

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from ablate.core.records.messages import RunReply
from ablate.parts import build
from ablate.runs import store
from ablate.runs.store import write_config
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from ablate.worker.trial import Trial
from tests.worker.plan_trials import plan_trial, plan_trials

CPU = torch.device("cpu")
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


def silent(event):
    """Ignores progress."""


def entry_of(settings, cache, kind="jepa"):
    trial = plan_trial(settings, cache, PROBES)
    return {"jepa": trial, "random_init": trial.random_init}.get(kind, trial.statistics)


def weights_of(folder):
    return load_file(folder / "encoder.safetensors")


def put(folder, entry):
    """Creates a run folder as a session does."""
    folder = folder / entry.fingerprint
    folder.mkdir(parents=True)
    write_config(folder, kind=entry.kind, settings=entry.settings)
    return folder


def state_of(folder):
    return json.loads((folder / "run.json").read_text())


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.fixture
def folder(settings, cache, tmp_path):
    return put(tmp_path / "run", entry_of(settings, cache))


def test_a_trial_leaves_its_state_metrics_pictures_scores_and_encoder(folder, cache):
    events = []
    ended = run(folder, PROBES, RunContext(CPU, cache, events.append, StopSignal()))
    assert ended == RunReply(state="done", trained=True, probed=("knn",))
    state = state_of(folder)
    assert state["state"] == "done"
    assert state["cost"]["steps"] == 60
    assert state["cost"]["clips"] == 240
    assert 0 < state["metrics"]["context_fraction"] < 1
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
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


def test_a_run_that_is_done_does_nothing_again(folder, cache):
    run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    before = (folder / "encoder.safetensors").stat().st_mtime_ns
    assert run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal())).probed == ()
    assert (folder / "encoder.safetensors").stat().st_mtime_ns == before


def test_another_probe_scores_again_and_trains_nothing(folder, cache):
    run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    cost = state_of(folder)["cost"]
    other = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
    ended = run(folder, other, RunContext(CPU, cache, silent, StopSignal()))
    assert ended == RunReply(state="done", trained=False, probed=("knn",))
    assert len(list(folder.glob("probes/speech/*.json"))) == 2
    assert state_of(folder)["cost"] == cost


def stopped_while_scored(folder, cache, *, until=None):
    """Runs a trial whose process is stopped once the first task is scored."""

    def stop_after_first_task(event):
        if event.label == "probe" and event.done == 1:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        run(
            folder, PROBES, RunContext(CPU, cache, stop_after_first_task, StopSignal(), until=until)
        )


def protocols(settings, cache):
    return plan_trials([settings], PROBES, cache).probes


def test_a_run_stopped_while_it_is_scored_is_scored_when_it_is_resumed(folder, settings, cache):
    probes = protocols(settings, cache)
    stopped_while_scored(folder, cache)
    assert [path.parent.name for path in folder.glob("probes/*/*.json")] == ["environment"]
    assert state_of(folder)["state"] == "done"
    assert store.find_missing_probes(folder, probes) == ["knn"]
    assert store.read_score(folder, probes["knn"], "mean", part="valid") is None
    assert run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal())).trained is False
    assert store.find_missing_probes(folder, probes) == []
    assert store.read_score(folder, probes["knn"], "mean", part="valid") is not None


def test_a_rung_that_is_scored_in_part_has_no_score(folder, settings, cache):
    stopped_while_scored(folder, cache, until=20)
    rung = folder / "rungs" / "20"
    assert len(list(rung.glob("probes/*/*.json"))) == 1
    assert store.read_score(rung, protocols(settings, cache)["knn"], "mean", part="valid") is None


def test_a_trial_run_second_and_a_fresh_process_end_in_the_same_bits(settings, cache, tmp_path):
    entry = entry_of(settings, cache)
    other = entry_of({**settings, "masker": {"type": "maskers.Random"}}, cache)
    first = put(tmp_path / "first", entry)
    run(first, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    between = put(tmp_path / "between", other)
    run(between, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    second = put(tmp_path / "second", entry)
    run(second, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    fresh = put(tmp_path / "fresh", entry)
    command = [sys.executable, "-m", "ablate.worker", str(fresh), "--cache", str(cache)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    assert same(weights_of(first), weights_of(second))
    assert same(weights_of(first), weights_of(fresh))
    assert not same(weights_of(first), weights_of(between))


def test_training_moves_the_encoder_away_from_its_twin(folder, settings, cache):
    run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    trained = weights_of(folder)
    twin = build(settings, expect=Trial).random_init.build_encoder().state_dict()
    assert set(twin) == {n.removeprefix("encoder.") for n in trained if n.startswith("encoder.")}
    assert not same(twin, {name: trained[f"encoder.{name}"] for name in twin})


@pytest.mark.parametrize("kind", ["random_init", "mel_statistics"])
def test_the_baselines_are_scored_without_training(settings, cache, tmp_path, kind):
    folder = put(tmp_path / kind, entry_of(settings, cache, kind))
    assert run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal())).trained is False
    [file] = folder.glob("probes/speech/*.json")
    poolings = set(json.loads(file.read_text())["scores"])
    every = {"mean", "mean_std", "concat_freq"}
    assert poolings == (every if kind == "random_init" else {"mean_std"})


def test_a_loss_that_is_not_finite_fails_with_its_reason(settings, cache, tmp_path):
    wild = {**settings, "optimizer": {"rate": 1e30, "clip": 0.0, "warmup": 0.0}}
    folder = put(tmp_path / "run", entry_of(wild, cache))
    ended = run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal()))
    assert ended.state == "failed"
    assert ended.reason.startswith("nan: the loss is not finite at step")
    assert "no checkpoint before it" in ended.reason
    assert state_of(folder)["reason"] == ended.reason
    assert not (folder / "encoder.safetensors").exists()


def test_a_collapse_ends_a_trial_with_on_collapse_stop(settings, cache, tmp_path):
    spoilt = {"rate": 0.1, "warmup": 0.0, "momentum": [0, 0], "weight_decay": [0.99, 0.99]}
    wild = {**settings, "optimizer": spoilt}
    warned = put(tmp_path / "warned", entry_of(wild, cache))
    assert run(warned, PROBES, RunContext(CPU, cache, silent, StopSignal())).state == "done"
    assert state_of(warned)["collapsed"]
    assert state_of(warned)["warnings"][0].startswith("collapsed: effective rank")
    stopped = put(tmp_path / "stopped", entry_of({**wild, "on_collapse": "stop"}, cache))
    assert stopped.name != warned.name
    ended = run(stopped, PROBES, RunContext(CPU, cache, silent, StopSignal()))
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
    folder = put(tmp_path / "run", entry_of(rare, cache))
    ended = run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal()))
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
    folder = put(tmp_path / "run", entry_of(settings, cache))
    assert run(folder, PROBES, RunContext(CPU, cache, silent, StopSignal())).state == "done"
    [file] = folder.glob("probes/*/*.json")
    assert 0 <= json.loads(file.read_text())["scores"]["mean"]["test"] <= 100
