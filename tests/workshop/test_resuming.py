"""A stopped or killed training goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ablate.training.checkpoint import Checkpoints
from ablate.training.stopping import SIGNALS, Stop
from ablate.workshop.planning import plan
from ablate.workshop.running import run

CPU = torch.device("cpu")
STEPS = 130
TRIPWIRE = '''\
"""A stranger's masker that has its own process signalled at one step, once."""

import os
from dataclasses import dataclass
from pathlib import Path

from maskers import Random
from ablate.model.masking import AbstractMasker


@dataclass(frozen=True, kw_only=True)
class Tripwire(AbstractMasker):
    promises = Random().promises

    def __call__(self, grid, batch, *, progress=0.0, **given):
        wire = Path(os.environ["TRIPWIRE"])
        step, number = map(int, wire.read_text().split())
        if batch == 4 and progress == step / 129 and number:
            wire.write_text(f"{step} 0")
            os.kill(os.getpid(), number)
        return Random()(grid, batch, progress=progress, **given)
'''


@pytest.fixture
def trip(tmp_path, monkeypatch):
    """Sets the wire: `trip(step, signal)`."""
    (tmp_path / "tripwire_lab.py").write_text(TRIPWIRE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRIPWIRE", str(tmp_path / "wire"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def set_wire(step, number):
        (tmp_path / "wire").write_text(f"{step} {int(number)}")

    set_wire(0, 0)
    return set_wire


@pytest.fixture
def stop():
    """A stop that hears this process's signals, which are given back afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    found = Stop()
    found.listen()
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def new_run(settings, cache, tmp_path, trip):
    settings |= {
        "masker": {"type": "tripwire_lab.Tripwire"},
        "budget": {"steps": STEPS, "batch": 4},
        "encoder": {**settings["encoder"], "drop_path": 0.3},
    }
    [entry] = plan([settings], {}, cache, lambda event: None)["trials"]
    assert entry["problems"] == []

    def make(name):
        folder = tmp_path / name / entry["fingerprint"]
        folder.mkdir(parents=True)
        config = {"kind": "jepa", "settings": entry["settings"]}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def go(folder, cache, stop):
    ended = run(folder, {}, CPU, cache, lambda event: None, stop)
    stop.signal = None
    return ended


def traces(folder):
    """Everything that must not tell an interrupted run from one that was not."""
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in metrics:
        del line["tokens_per_second"]
    board = EventAccumulator(str(folder / "tb")).Reload()
    losses = [(event.step, event.value) for event in board.Scalars("train/loss")]
    run_json = json.loads((folder / "run.json").read_text())
    return metrics, losses, run_json["cost"]["context_tokens"], run_json["cost"]["clips"]


def same_weights(first, second):
    one, other = (load_file(folder / "encoder.safetensors") for folder in (first, second))
    return all(torch.equal(one[name], other[name]) for name in one | other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("step", [0, 37, 49, 50, STEPS - 1])
def test_a_run_told_to_stop_at_any_step_ends_in_the_same_bits(
    new_run, cache, trip, stop, number, step
):
    whole, broken = new_run("whole"), new_run("broken")
    go(whole, cache, stop)
    trip(step, number)
    ended = go(broken, cache, stop)
    assert ended["state"] == "preempted"
    assert ended["reason"] == f"{number.name} at step {step + 1} of {STEPS}"
    assert len(list((broken / "checkpoints").iterdir())) == 1
    assert go(broken, cache, stop)["state"] == "done"
    assert same_weights(whole, broken)
    assert traces(whole) == traces(broken)


def test_a_run_that_pauses_to_be_scored_ends_in_the_same_bits(new_run, cache, stop):
    whole, paused = new_run("whole"), new_run("paused")
    go(whole, cache, stop)
    probes = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
    for step in (40, 90):
        ended = run(paused, probes, CPU, cache, lambda event: None, stop, until=step)
        assert ended == {"state": "paused", "reason": f"paused at step {step}"}
        assert len(list((paused / "rungs" / str(step)).glob("probes/*/*.json"))) == 3
    assert not (paused / "probes").exists()
    assert go(paused, cache, stop)["state"] == "done"
    assert same_weights(whole, paused)
    assert traces(whole) == traces(paused)


@pytest.mark.parametrize("step", [20, 77])
def test_a_run_killed_outright_ends_in_the_same_bits(new_run, cache, trip, stop, step):
    whole, broken = new_run("whole"), new_run("broken")
    go(whole, cache, stop)
    trip(step, signal.SIGKILL)
    command = [sys.executable, "-m", "ablate.trial", str(broken), "--cache", str(cache)]
    killed = subprocess.run(command, capture_output=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert go(broken, cache, stop)["state"] == "done"
    assert same_weights(whole, broken)
    assert traces(whole) == traces(broken)


def test_a_finished_run_keeps_no_checkpoint(new_run, cache, stop):
    folder = new_run("run")
    go(folder, cache, stop)
    assert not (folder / "checkpoints").exists()


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step, "weights": torch.ones(1000)})
    newest = tmp_path / "step-000000030.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    state, [warning] = checkpoints.load(CPU)
    assert state["step"] == 20
    assert "step-000000030.pt cannot be read" in warning


def test_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-000000020.pt",
        "step-000000030.pt",
    ]


def test_a_checkpoint_is_due_after_a_pause(tmp_path):
    assert Checkpoints(tmp_path, least_seconds=0.0).due
    assert not Checkpoints(tmp_path, least_seconds=1000.0).due


def test_a_signal_between_trainings_ends_the_process_at_once():
    with pytest.raises(SystemExit):
        Stop()._hear(signal.SIGTERM, None)
