"""A stopped or killed training resumes and ends with the same bits as an uninterrupted one."""

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
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ablate.core.records.messages import RunReply, RunRequest
from ablate.core.records.plan import EvaluatePlan
from ablate.training.checkpoint import Checkpoints
from ablate.training.signals import SIGNALS, StopSignal
from tests.worker.runs import (
    create_run_folder,
    have_same_weights,
    plan_trial,
    read_metrics,
    read_run_json,
    run_folder,
)

STEPS = 130
PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
EVALUATE = EvaluatePlan(every=30, clips=2, probe="knn", pooling="mean")
# processes are forked from a server that has imported everything, since importing takes seconds
PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = "ablate.worker.main ablate.worker.run ablate.audio.synthetic sklearn.metrics"
PROCESSES.set_forkserver_preload(["__main__", "torch._dynamo", *PRELOADED.split()])
SIGNALLING = '''\
"""A user's masker that signals its own process at the steps in a file, once at each."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from maskers import Random
from ablate.model.masking import AbstractMasker
from ablate.training.signals import StopSignal
from ablate.worker.main import serve

SIGNALS_FILE = Path(__file__).with_name("signals")


@dataclass(frozen=True, kw_only=True)
class Signalling(AbstractMasker):
    promises = Random().promises

    def draw(self, clips, generator):
        lines = SIGNALS_FILE.read_text().splitlines()
        step, number = map(int, lines[0].split()) if lines else (-1, 0)
        if clips.batch == 4 and clips.progress == step / 129:
            SIGNALS_FILE.write_text("\\n".join(lines[1:]))
            os.kill(os.getpid(), number)
        return Random().draw(clips, generator)


def serve_requests(requests, cache):
    """Serves requests as a worker process does."""
    torch.set_num_threads(1)
    stop = StopSignal()
    stop.install()
    serve(io.StringIO(requests), io.StringIO(), stop, Path(cache))
'''


@pytest.fixture
def send_signals(tmp_path, monkeypatch):
    """Returns a function that lists signals by step, in order: `send_signals((step, signal))`."""
    (tmp_path / "signalling_lab.py").write_text(SIGNALLING)
    monkeypatch.syspath_prepend(tmp_path)
    python_path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), python_path]))

    def write_signals(*signals):
        lines = [f"{step} {int(number)}" for step, number in signals]
        (tmp_path / "signals").write_text("\n".join(lines))

    write_signals()
    yield write_signals
    sys.modules.pop("signalling_lab", None)


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
def new_run(settings, cache, tmp_path, send_signals):
    """Returns a function that creates run folders: `new_run(name, steps)`."""

    def create(name, steps=STEPS):
        changes = {
            "masker": {"type": "signalling_lab.Signalling"},
            "budget": {"steps": steps, "batch": 4},
            "encoder": {**settings["encoder"], "drop_path": 0.3},
        }
        return create_run_folder(tmp_path / name, plan_trial(settings | changes, cache))

    return create


def go(folder, cache, stop, probes=None, evaluate=None):
    """Runs a folder and clears the stop signal afterwards."""
    ended = run_folder(folder, cache, probes, evaluate=evaluate, stop=stop)
    stop.signal = None
    return ended


def read_recorded(folder):
    """Reads what a run recorded and an interruption must not change."""
    metrics = read_metrics(folder)
    for line in metrics:
        line.pop("tokens_per_second", None)
    board = EventAccumulator(str(folder / "tb")).Reload()
    tags = [tag for tag in ("train/loss", "online/score") if tag in board.Tags()["scalars"]]
    curves = {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in tags}
    cost = read_run_json(folder)["cost"]
    return metrics, curves, cost["context_tokens"], cost["clips"]


def serve_runs(folders, cache):
    """Runs folders one after the other in one worker process; returns its exit code."""
    requests = [RunRequest(folder=folder, probes={}) for folder in folders]
    requests[-1] = replace(requests[-1], probes=PROBES, evaluate=EVALUATE)
    lines = "".join(request.to_line() for request in requests)
    target = importlib.import_module("signalling_lab").serve_requests
    process = PROCESSES.Process(target=target, args=(lines, str(cache)))
    process.start()
    process.join()
    return process.exitcode


def draw_signals(rng):
    """Draws twenty steps for each of three signals, in the order of the steps."""
    numbers = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1] * 20
    rng.shuffle(numbers)
    return list(zip(sorted(rng.sample(range(STEPS), len(numbers))), numbers, strict=True))


def test_a_run_interrupted_at_sixty_random_steps_ends_with_the_same_bits(
    new_run, cache, send_signals, stop, tmp_path
):
    """Before every other attempt, the process runs another trial."""
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop, PROBES, EVALUATE)
    signals = draw_signals(random.Random(0))
    send_signals(*signals)
    for attempt, (step, number) in enumerate(signals):
        before = [new_run(f"before {attempt}", steps=2)] if attempt % 2 else []
        code = serve_runs([*before, broken], cache)
        record = read_run_json(broken)
        if number == signal.SIGKILL:
            assert (code, record["state"]) == (-signal.SIGKILL, "running")
        else:
            assert (code, record["state"]) == (0, "preempted")
            assert record["reason"] == f"{number.name} at step {step + 1} of {STEPS}"
    assert (tmp_path / "signals").read_text() == ""
    assert serve_runs([broken], cache) == 0
    assert have_same_weights(uninterrupted, broken)
    assert read_recorded(uninterrupted) == read_recorded(broken)
    steps = [step for step, _ in read_recorded(broken)[1]["online/score"]]
    assert steps == [0, 30, 60, 90, 120, 130]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
@pytest.mark.parametrize("step", [49, STEPS - 1])
def test_a_run_stopped_before_or_after_its_metrics_ends_with_the_same_bits(
    new_run, cache, send_signals, stop, number, step
):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop)
    send_signals((step, number))
    ended = go(broken, cache, stop)
    assert ended.state == "preempted"
    assert ended.reason == f"{number.name} at step {step + 1} of {STEPS}"
    assert Checkpoints(broken / "checkpoints").newest_step == step + 1
    assert go(broken, cache, stop).state == "done"
    assert have_same_weights(uninterrupted, broken)
    assert read_recorded(uninterrupted) == read_recorded(broken)


def test_a_run_that_pauses_to_be_scored_ends_with_the_same_bits(new_run, cache, stop):
    uninterrupted, paused = new_run("uninterrupted"), new_run("paused")
    go(uninterrupted, cache, stop)
    for step in (40, 90):
        ended = run_folder(paused, cache, PROBES, stop=stop, until=step)
        assert ended == RunReply(state="paused", reason=f"paused at step {step}")
        assert len(list((paused / "rungs" / str(step)).glob("probes/*/*.json"))) == 3
    assert not (paused / "probes").exists()
    assert go(paused, cache, stop).state == "done"
    assert have_same_weights(uninterrupted, paused)
    assert read_recorded(uninterrupted) == read_recorded(paused)


def test_a_pause_interrupted_before_its_scores_is_scored_later(new_run, cache, stop):
    folder = new_run("paused")

    def interrupt(message):
        if message.label == "probe":
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        run_folder(folder, cache, PROBES, emit=interrupt, stop=stop, until=40)
    ended = run_folder(folder, cache, PROBES, stop=stop, until=40)
    assert ended.state == "paused"
    assert len(list((folder / "rungs" / "40").glob("probes/*/*.json"))) == 3


def test_a_run_whose_scoring_is_interrupted_stays_done(new_run, cache, stop):
    folder = new_run("scored")
    go(folder, cache, stop)

    def interrupt(message):
        raise SystemExit(130)

    with pytest.raises(SystemExit):
        run_folder(folder, cache, PROBES, emit=interrupt, stop=stop)
    assert read_run_json(folder)["state"] == "done"


def test_a_signal_after_the_last_step_ends_the_process_before_it_scores(
    new_run, cache, send_signals, stop
):
    folder = new_run("run")
    send_signals((STEPS - 1, signal.SIGTERM))
    go(folder, cache, stop)  # saves a checkpoint of the last step, so no step is left
    stop.signal = signal.SIGUSR1  # received while the encoder is written
    with pytest.raises(SystemExit) as ended:
        run_folder(folder, cache, PROBES, stop=stop)
    assert ended.value.code == 128 + signal.SIGUSR1
    assert read_run_json(folder)["state"] == "done"
    assert (folder / "encoder.safetensors").exists()
    assert not (folder / "probes").exists()


def test_a_killed_worker_process_is_resumed_with_the_same_bits(new_run, cache, send_signals, stop):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache, stop, PROBES, EVALUATE)
    send_signals((77, signal.SIGKILL))
    (broken.parent / "probes.json").write_text(json.dumps(PROBES))
    command = [sys.executable, "-m", "ablate.worker", str(broken), "--cache", str(cache)]
    command += ["--probes", str(broken.parent / "probes.json")]
    command += ["--evaluate", json.dumps(asdict(EVALUATE))]
    killed = subprocess.run(command, capture_output=True, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert go(broken, cache, stop, PROBES, EVALUATE).state == "done"
    assert have_same_weights(uninterrupted, broken)
    assert read_recorded(uninterrupted) == read_recorded(broken)


def test_a_finished_run_keeps_no_checkpoint(new_run, cache, stop):
    folder = new_run("run")
    go(folder, cache, stop)
    assert not (folder / "checkpoints").exists()
