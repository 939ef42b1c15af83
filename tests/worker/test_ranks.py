"""Several ranks, and batches in several parts, train the same as one process on whole batches."""

import copy
import dataclasses
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

from ablate.core.records.messages import RunReply, RunRequest
from ablate.model.objectives import L2
from ablate.model.transformer import Layers
from ablate.parts import build, get_identity
from ablate.runs import store
from ablate.training.optimizer import Budget
from ablate.training.signals import StopSignal
from ablate.worker.dispatch import handle_request
from ablate.worker.trial import Trial
from tests.worker.runs import (
    create_run_folder,
    have_same_weights,
    load_weights,
    plan_trial,
    read_metrics,
    read_run_json,
    run_folder,
)

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
TIMEOUT = 150.0  # seconds within which all ranks end once one has ended
SIGNALLING = '''\
"""A user's masker that signals its own process as the variable `SIGNAL_AT` says.

`SIGNAL_AT` is "<rank> <moment> <signal>", where the moment is `built` or a step.
"""

import os
from dataclasses import dataclass

from maskers import MultiBlock
from ablate.model.masking import AbstractMasker


@dataclass(frozen=True, kw_only=True)
class Signalling(AbstractMasker):
    promises = MultiBlock().promises

    def __post_init__(self):
        signal_process("built")

    def draw(self, clips, generator):
        if clips.batch == 5:
            signal_process(f"{29 * clips.progress:.0f}")
        return MultiBlock().draw(clips, generator)


def signal_process(moment):
    rank, when, number = os.environ.get("SIGNAL_AT", "9 9 9").split()
    if (os.environ.get("RANK"), moment) == (rank, when):
        os.kill(os.getpid(), int(number))
'''


@pytest.fixture
def new_run(settings, cache, tmp_path, monkeypatch):
    """Returns a function that creates run folders: `new_run(name, **changes)`.

    Masks differ in size between samples, and the batch of 5 clips has no equal halves.
    """
    (tmp_path / "signalling_lab.py").write_text(SIGNALLING)
    monkeypatch.syspath_prepend(tmp_path)
    python_path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), python_path]))
    settings["masker"] = {"type": "signalling_lab.Signalling"}
    settings["optimizer"] = {"momentum": [0.9, 0.9]}

    def create(name, **changes):
        base = copy.deepcopy(settings)
        base["budget"] = {"steps": 30, "batch": 5, **changes.pop("budget", {})}
        return create_run_folder(tmp_path / name, plan_trial({**base, **changes}, cache))

    yield create
    sys.modules.pop("signalling_lab", None)


def train_alone(folder, cache):
    """Trains a run in this process; returns its folder."""
    assert run_folder(folder, cache).state == "done"
    return folder


def train_with_two_ranks(folder, cache, **environment):
    """Trains a run in two processes; returns the exit code."""
    command = [sys.executable, "-m", "ablate.worker", str(folder), "--cache", str(cache)]
    done = subprocess.run(
        [*command, "--ranks", "2"],
        capture_output=True,
        env={**os.environ, **environment},
        timeout=TIMEOUT,
    )
    return done.returncode


def assert_similar(first, second):
    """Compares weights, metrics and costs.

    Biases of attention keys are left out: they do not affect the model, so noise moves them.
    """
    one, other = load_weights(first), load_weights(second)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.endswith("query_key_value.bias"):
            keys = slice(len(value) // 3, 2 * len(value) // 3)
            value[keys] = other[name][keys] = 0
        assert torch.allclose(value, other[name], rtol=0, atol=1e-5), name
    reports = [
        [line for line in read_metrics(folder) if "loss" in line] for folder in (first, second)
    ]
    for one, other in zip(*reports, strict=True):
        for line in (one, other):
            for name in ("tokens_per_second", "online_score", "online_scores"):
                line.pop(name, None)
        assert one == pytest.approx(other, rel=1e-4)
    costs = read_run_json(first)["cost"], read_run_json(second)["cost"]
    for name in ("steps", "clips", "masks", "context_tokens", "target_tokens", "flops"):
        assert costs[0][name] == costs[1][name], name


TWO_MASKS = {"type": "maskers.MultiMask", "maskers": [{"type": "maskers.MultiBlock"}], "times": 2}


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize(
    "masker", [{"type": "signalling_lab.Signalling"}, TWO_MASKS], ids=["one mask", "two masks"]
)
def test_accumulated_parts_of_a_batch_train_like_an_unsplit_batch(
    new_run, settings, cache, masker, drop_path
):
    changes = {"masker": masker, "encoder": {**settings["encoder"], "drop_path": drop_path}}
    unsplit = train_alone(new_run("unsplit", **changes), cache)
    for parts in (2, 5):
        split = new_run("split", **changes, budget={"accumulate": parts})
        assert_similar(unsplit, train_alone(split, cache))
        assert split.name != unsplit.name


def test_accumulated_parts_train_the_same_although_they_pad_less(new_run, cache):
    unsplit = train_alone(new_run("unsplit", batching="pad"), cache)
    split = train_alone(new_run("split", batching="pad", budget={"accumulate": 2}), cache)
    assert read_run_json(split)["cost"]["flops"] < read_run_json(unsplit)["cost"]["flops"]
    one, other = load_weights(unsplit), load_weights(split)
    name = "encoder.project.weight"
    assert torch.allclose(one[name], other[name], rtol=0, atol=1e-5)


def test_two_ranks_train_like_one_process(new_run, cache):
    unsplit, shared = train_alone(new_run("unsplit"), cache), new_run("shared")
    assert train_with_two_ranks(shared, cache) == 0
    assert_similar(unsplit, shared)
    assert read_run_json(shared)["ranks"] == 2
    assert len(list((shared / "attempts").iterdir())) == 1


def test_a_batch_may_have_more_parts_than_a_rank_has_clips(new_run, cache):
    parts = {"accumulate": 3}  # one of the two ranks has only two clips
    unsplit, shared = (new_run(name, budget=parts) for name in ("unsplit", "shared"))
    assert train_with_two_ranks(shared, cache) == 0
    assert_similar(train_alone(unsplit, cache), shared)


def test_a_worker_trains_a_run_with_ranks_and_resumes_it(new_run, cache):
    unsplit, shared, events = train_alone(new_run("unsplit"), cache), new_run("shared"), []
    evaluate = {"every": 10, "clips": 2, "probe": "knn", "pooling": "mean"}
    request = RunRequest(folder=shared, probes=PROBES, ranks=2, evaluate=evaluate)
    paused = handle_request(replace(request, until=20), cache, events.append, StopSignal())
    assert paused == RunReply(state="paused", reason="paused at step 20")
    ended = handle_request(request, cache, events.append, StopSignal())
    assert (ended.state, ended.trained) == ("done", True)
    assert read_run_json(shared)["ranks"] == 2
    labels = {event.label for event in events}
    assert any(label.startswith("train, online score") for label in labels)
    assert_similar(unsplit, shared)
    again = handle_request(request, cache, events.append, StopSignal())
    assert again == RunReply(state="done", trained=False, probed=())


def test_ranks_that_were_stopped_or_killed_are_resumed_by_one_process(new_run, cache):
    unsplit, broken = train_alone(new_run("unsplit"), cache), new_run("broken")
    assert train_with_two_ranks(broken, cache, SIGNAL_AT=f"1 7 {int(signal.SIGUSR1)}") == 1
    assert read_run_json(broken)["state"] == "preempted"
    assert read_run_json(broken)["reason"] == "SIGUSR1 at step 8 of 30"
    assert train_with_two_ranks(broken, cache, SIGNAL_AT=f"1 20 {int(signal.SIGKILL)}") == 1
    status = store.read_status(broken)  # stale if gloo ended the first rank before it could record
    assert status.state == "stale" or status.reason.startswith("node: another rank has ended")
    assert_similar(unsplit, train_alone(broken, cache))


def test_a_rank_stopped_before_the_first_step_stops_all_ranks(new_run, cache):
    early = new_run("early")
    assert train_with_two_ranks(early, cache, SIGNAL_AT=f"1 built {int(signal.SIGUSR2)}") == 1
    assert read_run_json(early)["state"] == "preempted"
    assert read_run_json(early)["reason"] == "SIGUSR2 at step 1 of 30"


def test_ranks_end_when_their_worker_is_killed(new_run, cache):
    endless = new_run("endless", budget={"steps": 1_000_000})
    request = RunRequest(folder=endless, probes={}, ranks=2)
    command = [sys.executable, "-m", "ablate.worker", "--worker", "--cache", str(cache)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        worker.stdin.write(request.to_line().encode())
        worker.stdin.flush()
        assert wait_until(lambda: (endless / "metrics.jsonl").exists())
        assert len(list_processes(endless)) == 3  # the two ranks and their launcher
        worker.kill()
        worker.communicate()
        assert wait_until(lambda: not list_processes(endless))
    finally:
        worker.kill()
        worker.communicate()
        for process in list_processes(endless):
            os.kill(process, signal.SIGKILL)


def list_processes(folder):
    """Lists the processes whose command names a folder."""
    processes = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if str(folder).encode() in line.read_bytes().split(b"\0"):
                processes.append(int(line.parent.name))
    return processes


def wait_until(condition):
    """Waits up to `TIMEOUT` until a condition holds; returns whether it does."""
    deadline = time.monotonic() + TIMEOUT
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds


@dataclass(frozen=True, kw_only=True)
class Coupled(L2):
    """A loss that needs the whole batch."""

    coupled = True


def test_the_batch_of_a_coupled_objective_cannot_be_split(settings):
    trial = build(settings, expect=Trial)
    with pytest.raises(
        ValueError, match=r"`accumulate` 2 splits a batch .* Coupled needs the whole batch"
    ):
        dataclasses.replace(
            trial, objective=Coupled(), budget=Budget(steps=1, batch=4, accumulate=2)
        )


def test_recomputed_activations_give_the_same_bits(new_run, cache):
    kept = train_alone(new_run("kept", masker=TWO_MASKS), cache)
    again = train_alone(
        new_run("again", masker=TWO_MASKS, budget={"checkpoint_activations": True}), cache
    )
    assert again.name != kept.name
    assert have_same_weights(kept, again)


def test_the_budget_decides_whether_activations_are_recomputed(settings):
    settings["budget"]["checkpoint_activations"] = True
    layers = [m for m in build(settings, expect=Trial).build_jepa().modules() if type(m) is Layers]
    assert len(layers) == 3
    assert all(each.checkpoint_activations for each in layers)


def test_later_settings_of_the_budget_are_not_in_its_identity(settings):
    assert set(get_identity(build(settings, expect=Trial))["budget"]) == {"type", "steps", "batch"}
