"""What a training step costs here: every variant takes its turn, round after round.

A machine that is busy slows all alike; the medians are those of the rounds. On a CPU the time is
that of the process, which nobody else uses; on a GPU it is that of the clock, the device being
waited for.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ablate.audio.loader import Batch
from ablate.core.random import generator
from ablate.model.predictor import Joint
from ablate.model.vit import ViT
from ablate.parts import PartError, build
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.metrics import TrainingCost
from ablate.training.prefetch import DrawBatch
from ablate.training.signals import StopSignal
from ablate.training.state import TrainingState
from ablate.training.trainer import LOG_EVERY, Trainer
from ablate.worker.benchmarks.attention import time_kernels
from ablate.worker.benchmarks.plain_jepa import PlainJEPA, PlainStep, Sizes
from ablate.worker.datasets import Emit
from ablate.worker.train import trainer_of
from ablate.worker.trial import Trial

LEAST, MOST = 3, 15  # rounds
SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices whose product is the ceiling
PLAIN = "plain dense JEPA"


class Noise:
    """Batches without clips: what sound a model hears does not change what it costs."""

    def __init__(self, trial: Trial) -> None:
        shape = (trial.budget.batch, trial.mel.bands, trial.crop_frames)
        self._mels = torch.randn(shape, generator=generator(0, "noise"))

    def batch(self, step: int, size: int) -> Batch:
        """Returns the same `size` clips at every step, all of them real."""
        mels = self._mels.repeat(-(-size // len(self._mels)), 1, 1)[:size]
        return Batch(mels, torch.ones(size, mels.shape[2], dtype=torch.bool))

    def paths(self, step: int, size: int) -> list[str]:
        """Names the clips of a batch, which are none."""
        return ["noise"] * size


@dataclass
class Runner:
    """Something that is timed, and what its turns took."""

    name: str
    precision: str
    turn: Callable[[], Any]
    used: Callable[[], dict[str, float]]  # a turn, on average
    peak_memory_mb: float | None = None  # of 2**20 bytes; None on a CPU
    between: float = 0.0  # seconds a step, of what is done now and then
    beside: str | None = None  # the variant that it is the yardstick of
    seconds: list[float] = field(default_factory=list)


def time_steps(
    variants: Sequence[Mapping[str, Any]], device: torch.device, seconds: float, emit: Emit
) -> dict[str, Any]:
    """Times training steps of variants, each a `name` with the `settings` of a trial, on noise.

    Beside them: a plain dense JEPA of the sizes and visible patches of the first variant whose
    samples show alike, the product of two matrices in each precision, and attention kernels.
    Takes about `seconds`, and 3 to 15 rounds, once all are built; kernels come after. Returns
    plain data; a variant that cannot be built says why in its own entry.
    """
    clock = partial(_clock, device)
    refused: list[dict[str, Any]] = []
    runners: list[Runner] = []
    beside: Runner | None = None
    with contextlib.ExitStack() as stack:
        for variant in variants:
            emit({"event": "progress", "label": variant["name"], "done": len(runners), "total": 0})
            try:
                trial = build(variant["settings"], expect=Trial)
            except PartError as error:
                refused.append({"name": variant["name"], "beside": None, "refused": str(error)})
                continue
            runner = _variant(variant["name"], trial, device, clock, stack)
            runners.append(runner)
            beside = beside or _plain(trial, runner, device)
        if beside is not None:
            runners.append(beside)
        precisions = sorted({runner.precision for runner in runners})
        ceilings = [_ceiling(precision, device) for precision in precisions]
        _take_turns([*runners, *ceilings], seconds, clock, emit)
    best = {runner.precision: _flops(runner) for runner in ceilings}
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ceiling_tflops": {name: value / 1e12 for name, value in best.items()},
        "steps": [*(_figures(r, best[r.precision]) for r in runners), *refused],
        "kernels": time_kernels(device, clock),
    }


def _variant(
    name: str,
    trial: Trial,
    device: torch.device,
    clock: Callable[[], float],
    stack: contextlib.ExitStack,
) -> Runner:
    before = _memory(device)
    nowhere = Checkpoints(Path("nowhere"))
    trainer = trainer_of(trial, Noise(trial), device, Ranks(), nowhere, StopSignal())
    state = trainer.create_state()
    draw = stack.enter_context(trainer.drawing())
    turn = partial(_take_step, trainer, state, draw)
    turn()
    started = clock()
    trainer.measure_health()
    between = (clock() - started) / LOG_EVERY
    used = partial(_used, state.cost)
    precision = trial.optimizer.precision
    return Runner(name, precision, turn, used, _peak(device, before), between)


def _take_step(trainer: Trainer, state: TrainingState, draw: DrawBatch) -> None:
    trainer.step(state, draw(state.cost.steps))


def _used(cost: TrainingCost) -> dict[str, float]:
    """Says what a step took on average, and what a mask showed and asked for."""
    return {
        "clips": cost.clips / cost.steps,
        "audio_hours": cost.audio_seconds / 3600 / cost.steps,
        "tokens": (cost.context_tokens + cost.target_tokens) / cost.steps,
        "context": cost.context_tokens / cost.masks,
        "targets": cost.target_tokens / cost.masks,
        "flops": cost.flops / cost.steps,
    }


def _plain(trial: Trial, runner: Runner, device: torch.device) -> Runner | None:
    """Builds the yardstick of a variant; None where its samples show unlike or it is no ViT."""
    promises, (encoder, predictor) = trial.masker.promises, (trial.encoder, trial.predictor)
    alike = promises.exact and promises.copies == 1 and trial.batching == "pack"
    if not (alike and isinstance(encoder, ViT) and isinstance(predictor, Joint)):
        return None
    sizes = [Sizes(p.dim, p.layers, p.heads, p.mlp_ratio) for p in (encoder, predictor)]
    grid, shown = trial.twin.grid, runner.used()
    before = _memory(device)
    counts = round(shown["context"]), round(shown["targets"])
    jepa = PlainJEPA(grid.size, trial.patchifier.pixels, *counts, *sizes).to(device)
    step = PlainStep(jepa, trial.optimizer.precision)
    mels = Noise(trial).batch(0, trial.budget.batch).mels

    def turn() -> None:
        step(trial.patchifier.cut(mels.to(device)))

    turn()
    return Runner(
        PLAIN, runner.precision, turn, runner.used, _peak(device, before), beside=runner.name
    )


def _ceiling(precision: str, device: torch.device) -> Runner:
    side = SIDE[device.type]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return Runner("ceiling", precision, lambda: one @ other, lambda: {"flops": 2.0 * side**3})


def _take_turns(
    runners: Sequence[Runner], seconds: float, clock: Callable[[], float], emit: Emit
) -> None:
    for runner in runners:
        runner.turn()  # what is only slow at first
    until = time.monotonic() + seconds
    for done in range(MOST):
        if done >= LEAST and time.monotonic() > until:
            return
        emit({"event": "progress", "label": "rounds", "done": done, "total": MOST})
        for runner in runners:
            started = clock()
            runner.turn()
            runner.seconds.append(clock() - started)


def _flops(runner: Runner) -> float:
    return runner.used()["flops"] / statistics.median(runner.seconds)


def _figures(runner: Runner, ceiling: float) -> dict[str, Any]:
    """Says what a variant's turns come to; what is done every few steps has its share."""
    used = runner.used()
    took = statistics.median(runner.seconds) + runner.between
    rates = {f"{name}_per_second": used[name] / took for name in ("clips", "tokens")}
    return {
        "name": runner.name,
        "beside": runner.beside,
        "refused": None,
        "precision": runner.precision,
        "milliseconds": 1000 * took,
        **rates,
        "audio_hours_per_hour": 3600 * used["audio_hours"] / took,
        "utilisation": used["flops"] / took / ceiling,
        "peak_memory_mb": runner.peak_memory_mb,
        "rounds": len(runner.seconds),
        **{name: used[name] for name in ("context", "targets", "flops")},
    }


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def _memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device, before: int) -> float | None:
    """Mebibytes that one variant held at most; a CPU does not tell those of one from another's."""
    if device.type != "cuda":
        return None
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20
