"""Times the loading of batches: what a device waits for if it trains faster."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ablate.core.records.benchmarks import LoaderTiming, LoaderTimingsReply, LoaderTimingsRequest
from ablate.parts import build
from ablate.training.batch_drawer import BatchDrawer
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.prefetch import count_threads, prefetch
from ablate.training.signals import StopSignal
from ablate.worker.benchmarks.noise import NoiseBatches
from ablate.worker.settings_checks import fill_in_matches
from ablate.worker.train import build_trainer
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes

ROUNDS = 7


def time_loader(request: LoaderTimingsRequest) -> LoaderTimingsReply:
    """Times how fast batches of noise are stacked, drawn with masks, and normalised.

    Medians of seven rounds in wall-clock time.
    """
    device = torch.device(request.device)
    trial = build(fill_in_matches(convert_sizes(request.trial.settings))[0], expect=Trial)
    noise, size = NoiseBatches(trial), trial.budget.batch
    unused_folder = Checkpoints(Path("unused"))
    drawer = build_trainer(trial, noise, device, Ranks(), unused_folder, StopSignal()).drawer
    pins = device.type == "cuda"

    def normalise() -> None:
        batch.mels_on(device)
        if pins:
            torch.cuda.synchronize(device)

    batch = noise.batch(0, size)
    batch = batch.pin_memory() if pins else batch
    seconds = {
        "stack the stored frames": _time(lambda: noise.batch(0, size)),
        "draw, masks included": _time(lambda: drawer.draw(0)),
        f"draw ahead, {count_threads()} threads": time_drawing(drawer),
        f"normalise on {device}": _time(normalise),
    }
    return LoaderTimingsReply(
        batch=size,
        frames=trial.crop_frames,
        bands=trial.mel.bands,
        timings=tuple(
            LoaderTiming(name=name, milliseconds=1000 * value, clips_per_second=size / value)
            for name, value in seconds.items()
        ),
    )


def time_drawing(drawer: BatchDrawer) -> float:
    """Returns the seconds per step at which threads draw batches if nothing else is done."""
    rounds = max(ROUNDS, 2 * count_threads())
    pin = drawer.device.type == "cuda"
    with prefetch(drawer.draw, 2 * rounds, enabled=True, pin=pin) as draw:
        for step in range(rounds):
            draw(step)  # after these, as many batches are drawn ahead as at the end
        started = time.perf_counter()
        for step in range(rounds, 2 * rounds - count_threads()):
            draw(step)
        return (time.perf_counter() - started) / (rounds - count_threads())


def _time(work: Callable[[], object]) -> float:
    """Returns the median duration in seconds, after one call that does not count."""
    durations = []
    work()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)
