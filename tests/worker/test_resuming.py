"""A stopped or killed training goes on as if nothing had happened."""

import importlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ablate.core.records.messages import RunReply, RunRequest
from ablate.core.records.plan import EvaluatePlan
from ablate.runs.store import write_config
from ablate.training.checkpoint import Checkpoints
from ablate.training.signals import SIGNALS, StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from tests.worker.plan_trials import plan_trial

CPU = torch.device("cpu")
STEPS = 130
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
EVALUATE = EvaluatePlan(every=30, clips=2, probe="knn", pooling="mean")
# each process is forked from one that has imported all (an optimiser the last) and done nothing
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["__main__", "ablate.worker.main", "torch._dynamo"])
TRIPWIRE = '''\
"""A masker outside ablate that signals its own process at some steps, once at each."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from maskers import Random
from ablate.model.masking import AbstractMasker
from ablate.training.signals import StopSignal
from ablate.worker.main import serve

WIRES = Path(__file__).with_name("wires")


@dataclass(frozen=True, kw_only=True)
class Tripwire(AbstractMasker):
    promises = Random().promises

    def draw(self, clips, generator):
        wires = WIRES.read_text().splitlines()
        step, number = map(int, wires[0].split()) if wires else (-1, 0)
        if clips.batch == 4 and clips.progress == step / 129:
            WIRES.write_text("\\n".join(wires[1:]))
            os.kill(os.getpid(), number)
        return Random().draw(clips, generator)


def work(requests, cache):
    """Serves requests as a worker process does."""
    torch.set_num_threads(1)
    stop = StopSignal()
    stop.install()
    serve(io.StringIO(requests), io.StringIO(), stop, Path(cache))
'''


@pytest.fixture
def trip(tmp_path, monkeypatch):
    """Sets wires, the first of which is met first: `trip((step, signal), ...)`."""
    (tmp_path / "tripwire_lab.py").write_text(TRIPWIRE)
    monkeypatch.syspath_prepend(tmp_path)
    python_path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), python_path]))

    def set_wires(*wires):
        lines = [f"{step} {int(number)}" for step, number in wires]
        (tmp_path / "wires").write_text("\n".join(lines))

    set_wires()
    yield set_wires
    sys.modules.pop("tripwire_lab", None)


@pytest.fixture
def stop():
    """A stop signal of this process, whose handlers are restored afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signals = StopSignal()
    signals.install()
    yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def new_run(settings, cache, tmp_path, trip):
    """Makes run folders: `new_run(name, steps)`."""

    def make(name, steps=STEPS):
        changes = {
            "masker": {"type": "tripwire_lab.Tripwire"},
            "budget": {"steps": steps, "batch": 4},
            "encoder": {**settings["encoder"], "drop_path": 0.3},
        }
        trial = plan_trial(settings | changes, cache)
        folder = tmp_path / name / trial.fingerprint
        folder.mkdir(parents=True)
        write_config(folder, kind="jepa", settings=trial.settings)
        return folder

    return make


def go(folder, cache, stop, probes=None, evaluate=None):
    ended = run(
        folder, probes or {}, RunContext(CPU, cache, lambda event: None, stop), evaluate=evaluate
    )
    stop.signal = None
    return ended


def traces(folder):
    """Everything that must not tell an interrupted run from one that was not."""
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in metrics:
        line.pop("tokens_per_second", None)
    board = EventAccumulator(str(folder / "tb")).Reload()
    drawn = [tag for tag in ("train/loss", "online/score") if tag in board.Tags()["scalars"]]
    curves = {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in drawn}
    run_json = json.loads((folder / "run.json").read_text())
    return metrics, curves, run_json["cost"]["context_tokens"], run_json["cost"]["clips"]


def same_weights(first, second):
    one, other = (load_file(folder / "encoder.safetensors") for folder in (first, second))
    return all(torch.equal(one[name], other[name]) for name in one | other)


def work(folders, cache):
    """Has one process run folders one after the other, as a worker; returns its exit code."""
    requests = [RunRequest(folder=folder, probes={}) for folder in folders]
    requests[-1] = replace(requests[-1], probes=PROBES, evaluate=EVALUATE)
    lines = "".join(request.to_line() for request in requests)
    target = importlib.import_module("tripwire_lab").work
    process = PROCESSES.Process(target=target, args=(lines, str(cache)))
    process.start()
    process.join()
    return process.exitcode


def wires_of(rng):
    """Twenty steps for each way to end, in the order in which they are met."""
    numbers = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1] * 20
    rng.shuffle(numbers)
    return list(zip(sorted(rng.sample(range(STEPS), len(numbers))), numbers, strict=True))


def test_a_run_ended_at_sixty_random_steps_ends_in_the_same_bits(
    new_run, cache, trip, stop, tmp_path
):
    """Every other time, its process has run another trial before."""
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop, PROBES, EVALUATE)
    wires = wires_of(random.Random(0))
    trip(*wires)
    for attempt, (step, number) in enumerate(wires):
        before = [new_run(f"before {attempt}", steps=2)] if attempt % 2 else []
        code = work([*before, broken], cache)
        state = json.loads((broken / "run.json").read_text())
        if number == signal.SIGKILL:
            assert (code, state["state"]) == (-signal.SIGKILL, "running")
        else:
            assert (code, state["state"]) == (0, "preempted")
            assert state["reason"] == f"{number.name} at step {step + 1} of {STEPS}"
    assert (tmp_path / "wires").read_text() == ""
    assert work([broken], cache) == 0
    assert same_weights(uninterrupted, broken)
    assert traces(uninterrupted) == traces(broken)
    steps = [step for step, _ in traces(broken)[1]["online/score"]]
    assert steps == [0, 30, 60, 90, 120, 130]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("step", [49, STEPS - 1])
def test_a_run_stopped_before_or_after_a_report_ends_in_the_same_bits(
    new_run, cache, trip, stop, number, step
):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop)
    trip((step, number))
    ended = go(broken, cache, stop)
    assert ended.state == "preempted"
    assert ended.reason == f"{number.name} at step {step + 1} of {STEPS}"
    assert Checkpoints(broken / "checkpoints").newest_step == step + 1
    assert go(broken, cache, stop).state == "done"
    assert same_weights(uninterrupted, broken)
    assert traces(uninterrupted) == traces(broken)


def test_a_run_that_pauses_to_be_scored_ends_in_the_same_bits(new_run, cache, stop):
    uninterrupted, paused = new_run("uninterrupted"), new_run("paused")
    go(uninterrupted, cache, stop)
    for step in (40, 90):
        ended = run(paused, PROBES, RunContext(CPU, cache, lambda event: None, stop, until=step))
        assert ended == RunReply(state="paused", reason=f"paused at step {step}")
        assert len(list((paused / "rungs" / str(step)).glob("probes/*/*.json"))) == 3
    assert not (paused / "probes").exists()
    assert go(paused, cache, stop).state == "done"
    assert same_weights(uninterrupted, paused)
    assert traces(uninterrupted) == traces(paused)


def test_a_pause_that_was_interrupted_before_its_scores_is_scored_again(new_run, cache, stop):
    folder = new_run("paused")

    def interrupts(event):
        if event.label == "probe":
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        run(folder, PROBES, RunContext(CPU, cache, interrupts, stop, until=40))
    ended = run(folder, PROBES, RunContext(CPU, cache, lambda event: None, stop, until=40))
    assert ended.state == "paused"
    assert len(list((folder / "rungs" / "40").glob("probes/*/*.json"))) == 3


def test_a_run_whose_scoring_is_interrupted_stays_done(new_run, cache, stop):
    folder = new_run("scored")
    go(folder, cache, stop)

    def interrupts(event):
        raise SystemExit(130)

    with pytest.raises(SystemExit):
        run(folder, PROBES, RunContext(CPU, cache, interrupts, stop))
    assert json.loads((folder / "run.json").read_text())["state"] == "done"


def test_a_signal_after_the_last_step_ends_the_process_before_it_scores(new_run, cache, trip, stop):
    folder = new_run("run")
    trip((STEPS - 1, signal.SIGTERM))
    go(folder, cache, stop)  # it has saved its last step, and takes none when it goes on
    stop.signal = signal.SIGUSR1  # noted while its encoder is written
    with pytest.raises(SystemExit) as ended:
        run(folder, PROBES, RunContext(CPU, cache, lambda event: None, stop))
    assert ended.value.code == 128 + signal.SIGUSR1
    assert json.loads((folder / "run.json").read_text())["state"] == "done"
    assert (folder / "encoder.safetensors").exists()
    assert not (folder / "probes").exists()


def test_a_run_killed_outright_ends_in_the_same_bits(new_run, cache, trip, stop):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop, PROBES, EVALUATE)
    trip((77, signal.SIGKILL))
    (broken.parent / "probes.json").write_text(json.dumps(PROBES))
    command = [sys.executable, "-m", "ablate.worker", str(broken), "--cache", str(cache)]
    command += [
        "--probes",
        str(broken.parent / "probes.json"),
        "--evaluate",
        json.dumps(asdict(EVALUATE)),
    ]
    killed = subprocess.run(command, capture_output=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert go(broken, cache, stop, PROBES, EVALUATE).state == "done"
    assert same_weights(uninterrupted, broken)
    assert traces(uninterrupted) == traces(broken)


def test_a_finished_run_keeps_no_checkpoint(new_run, cache, stop):
    folder = new_run("run")
    go(folder, cache, stop)
    assert not (folder / "checkpoints").exists()
