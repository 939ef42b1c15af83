"""Ranks and micro-batches train what one process trains on the uninterrupted batch."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ablate.core.records.messages import RunReply, RunRequest
from ablate.model.objectives import L2
from ablate.model.transformer import Layers
from ablate.parts import build, get_identity
from ablate.runs import store
from ablate.runs.store import write_config
from ablate.training.optimizer import Budget
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.dispatch import handle_request
from ablate.worker.run import run
from ablate.worker.trial import Trial
from tests.worker.plan_trials import plan_trial

CPU = torch.device("cpu")
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
BOUND = 150.0  # seconds, in which all ranks have ended when one has
WIRED = '''\
"""A stranger's blocks; one rank's process is signalled by them as `WIRE` says, and goes on."""

import os
from dataclasses import dataclass

from maskers import MultiBlock
from ablate.model.masking import AbstractMasker


@dataclass(frozen=True, kw_only=True)
class Wired(AbstractMasker):
    promises = MultiBlock().promises

    def __post_init__(self):
        signal_at("built")

    def draw(self, clips, generator):
        if clips.batch == 5:
            signal_at(f"{29 * clips.progress:.0f}")
        return MultiBlock().draw(clips, generator)


def signal_at(moment):
    rank, when, number = os.environ.get("WIRE", "9 9 9").split()
    if (os.environ.get("RANK"), moment) == (rank, when):
        os.kill(os.getpid(), int(number))
'''


@pytest.fixture
def new_run(settings, cache, tmp_path, monkeypatch):
    """Makes run folders: masks are ragged, and the batch cannot be halved."""
    (tmp_path / "wired_lab.py").write_text(WIRED)
    monkeypatch.syspath_prepend(tmp_path)
    python_path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), python_path]))
    settings["masker"] = {"type": "wired_lab.Wired"}
    settings["optimizer"] = {"momentum": [0.9, 0.9]}

    def make(name, **changes):
        base = copy.deepcopy(settings)
        base["budget"] = {"steps": 30, "batch": 5, **changes.pop("budget", {})}
        trial = plan_trial({**base, **changes}, cache)
        folder = tmp_path / name / trial.fingerprint
        folder.mkdir(parents=True)
        write_config(folder, kind="jepa", settings=trial.settings)
        return folder

    yield make
    sys.modules.pop("wired_lab", None)


def alone(folder, cache):
    assert run(folder, {}, RunContext(CPU, cache, lambda event: None, StopSignal())).state == "done"
    return folder


def together(folder, cache, **environment):
    """Runs a folder by two ranks; returns the exit code."""
    command = [sys.executable, "-m", "ablate.worker", str(folder), "--cache", str(cache)]
    done = subprocess.run(
        [*command, "--ranks", "2"],
        capture_output=True,
        env={**os.environ, **environment},
        timeout=BOUND,
    )
    return done.returncode


def state_of(folder):
    return json.loads((folder / "run.json").read_text())


def assert_alike(first, second):
    """Compares weights, but for biases of keys: they change nothing, and noise moves them."""
    one, other = (load_file(folder / "encoder.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.endswith("query_key_value.bias"):
            keys = slice(len(value) // 3, 2 * len(value) // 3)
            value[keys] = other[name][keys] = 0
        assert torch.allclose(value, other[name], rtol=0, atol=1e-5), name
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (first, second)]
    reports = [[json.loads(line) for line in read if "loss" in line] for read in lines]
    for one, other in zip(*reports, strict=True):
        for line in (one, other):
            for name in ("tokens_per_second", "online_score", "online_scores"):
                line.pop(name, None)
        assert one == pytest.approx(other, rel=1e-4)
    cost, same = state_of(first)["cost"], state_of(second)["cost"]
    for name in ("steps", "clips", "masks", "context_tokens", "target_tokens", "flops"):
        assert cost[name] == same[name], name


SEVERAL = {"type": "maskers.MultiMask", "maskers": [{"type": "maskers.MultiBlock"}], "times": 2}


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("masker", [{"type": "wired_lab.Wired"}, SEVERAL], ids=["one", "several"])
def test_a_step_cut_into_parts_is_the_same_step(new_run, settings, cache, masker, drop_path):
    changes = {"masker": masker, "encoder": {**settings["encoder"], "drop_path": drop_path}}
    uninterrupted = alone(new_run("uninterrupted", **changes), cache)
    for parts in (2, 5):
        cut = new_run("cut", **changes, budget={"accumulate": parts})
        assert_alike(uninterrupted, alone(cut, cache))
        assert cut.name != uninterrupted.name


def test_padded_parts_are_the_same_step_though_they_pad_less(new_run, cache):
    uninterrupted = alone(new_run("uninterrupted", batching="pad"), cache)
    cut = alone(new_run("cut", batching="pad", budget={"accumulate": 2}), cache)
    assert state_of(cut)["cost"]["flops"] < state_of(uninterrupted)["cost"]["flops"]
    one, other = (load_file(folder / "encoder.safetensors") for folder in (uninterrupted, cut))
    name = "encoder.project.weight"
    assert torch.allclose(one[name], other[name], rtol=0, atol=1e-5)


def test_two_ranks_train_what_one_process_does(new_run, cache):
    uninterrupted, shared = alone(new_run("uninterrupted"), cache), new_run("shared")
    assert together(shared, cache) == 0
    assert_alike(uninterrupted, shared)
    assert state_of(shared)["ranks"] == 2
    assert len(list((shared / "attempts").iterdir())) == 1


def test_a_step_may_be_cut_into_more_parts_than_a_rank_has_clips(new_run, cache):
    parts = {"accumulate": 3}  # with two ranks: two clips on one, three on the other
    uninterrupted, shared = (new_run(name, budget=parts) for name in ("uninterrupted", "shared"))
    assert together(shared, cache) == 0
    assert_alike(alone(uninterrupted, cache), shared)


def test_a_worker_has_ranks_train_a_trial_and_trains_nothing_twice(new_run, cache):
    uninterrupted, shared, events = alone(new_run("uninterrupted"), cache), new_run("shared"), []
    evaluate = {"every": 10, "clips": 2, "probe": "knn", "pooling": "mean"}
    request = RunRequest(folder=shared, probes=PROBES, ranks=2, evaluate=evaluate)
    paused = handle_request(replace(request, until=20), cache, events.append, StopSignal())
    assert paused == RunReply(state="paused", reason="paused at step 20")
    ended = handle_request(request, cache, events.append, StopSignal())
    assert (ended.state, ended.trained) == ("done", True)
    assert state_of(shared)["ranks"] == 2
    labels = {event.label for event in events}
    assert any(label.startswith("train, online score") for label in labels)
    assert_alike(uninterrupted, shared)
    again = handle_request(request, cache, events.append, StopSignal())
    assert again == RunReply(state="done", trained=False, probed=())


def test_ranks_stop_and_end_together_and_one_process_resumes(new_run, cache):
    uninterrupted, broken = alone(new_run("uninterrupted"), cache), new_run("broken")
    assert together(broken, cache, WIRE=f"1 7 {int(signal.SIGUSR1)}") == 1
    assert state_of(broken)["state"] == "preempted"
    assert state_of(broken)["reason"] == "SIGUSR1 at step 8 of 30"
    assert together(broken, cache, WIRE=f"1 20 {int(signal.SIGKILL)}") == 1
    ended = store.read_status(
        broken
    )  # stale where gloo ended the first rank before it could say so
    assert ended.state == "stale" or ended.reason.startswith("node: another rank has ended")
    assert_alike(uninterrupted, alone(broken, cache))


def test_a_rank_that_is_stopped_before_it_trains_stops_with_the_others(new_run, cache):
    early = new_run("early")
    assert together(early, cache, WIRE=f"1 built {int(signal.SIGUSR2)}") == 1
    assert state_of(early)["state"] == "preempted"
    assert state_of(early)["reason"] == "SIGUSR2 at step 1 of 30"


def test_ranks_end_when_the_worker_that_started_them_is_killed(new_run, cache):
    endless = new_run("endless", budget={"steps": 1_000_000})
    request = RunRequest(folder=endless, probes={}, ranks=2)
    command = [sys.executable, "-m", "ablate.worker", "--worker", "--cache", str(cache)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        worker.stdin.write(request.to_line().encode())
        worker.stdin.flush()
        assert within(BOUND, lambda: (endless / "metrics.jsonl").exists())
        assert len(at_work(endless)) == 3  # the ranks, and who started them
        worker.kill()
        worker.communicate()
        assert within(BOUND, lambda: not at_work(endless))
    finally:
        worker.kill()
        worker.communicate()
        for process in at_work(endless):
            os.kill(process, signal.SIGKILL)


def at_work(folder):
    """Lists the processes that train in a folder."""
    processes = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if str(folder).encode() in line.read_bytes().split(b"\0"):
                processes.append(int(line.parent.name))
    return processes


def within(seconds, holds):
    """Waits until something holds; tells whether it did in time."""
    until = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.2)
    return held


@dataclass(frozen=True, kw_only=True)
class Coupled(L2):
    """A loss that must see its batch uninterrupted."""

    coupled = True


def test_a_batch_of_a_coupled_objective_is_not_divided(settings):
    trial = build(settings, expect=Trial)
    with pytest.raises(ValueError, match="`accumulate` 2 splits a batch .* Coupled needs the whole batch"):
        dataclasses.replace(
            trial, objective=Coupled(), budget=Budget(steps=1, batch=4, accumulate=2)
        )


def test_activations_computed_again_train_the_same_bits(new_run, cache):
    kept = alone(new_run("kept", masker=SEVERAL), cache)
    again = alone(new_run("again", masker=SEVERAL, budget={"checkpoint_activations": True}), cache)
    assert again.name != kept.name
    one, other = (load_file(folder / "encoder.safetensors") for folder in (kept, again))
    assert all(torch.equal(one[name], other[name]) for name in one | other)


def test_activations_are_recomputed_if_the_budget_says_so(settings):
    settings["budget"]["checkpoint_activations"] = True
    layers = [m for m in build(settings, expect=Trial).build_jepa().modules() if type(m) is Layers]
    assert len(layers) == 3
    assert all(each.checkpoint_activations for each in layers)


def test_settings_that_came_later_leave_old_results_valid(settings):
    assert set(get_identity(build(settings, expect=Trial))["budget"]) == {"type", "steps", "batch"}
