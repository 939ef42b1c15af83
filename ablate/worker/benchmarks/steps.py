"""Times the training steps of variants, in alternation, round after round.

Other load on the machine slows all variants alike; results are medians over the rounds. On a CPU
the process time is measured; on a GPU, the wall clock with the device synchronised.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ablate.core.records.benchmarks import StepTiming, StepTimingsReply, StepTimingsRequest
from ablate.core.records.messages import ProgressMessage
from ablate.model.attention import KernelChoice, record_kernels
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
from ablate.worker.benchmarks.loader import time_drawing
from ablate.worker.benchmarks.noise import NoiseBatches
from ablate.worker.benchmarks.plain_jepa import PlainJEPA, PlainStep, Sizes
from ablate.worker.datasets import Emit
from ablate.worker.settings_checks import fill_in_matches
from ablate.worker.train import build_trainer
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes

MIN_ROUNDS, MAX_ROUNDS = 3, 15
MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}  # the product of two square matrices is the ceiling
PLAIN = "plain dense JEPA"


@dataclass
class Runner:
    """Something that is timed: its step, and the times measured so far.

    On a CPU a step draws its batch. On a GPU threads draw ahead; drawing is timed by itself, and a
    step takes as long as the slower of both.
    """

    name: str
    precision: str
    step: Callable[[], Any]
    usage: Callable[[], dict[str, float]]  # per step, on average
    peak_memory_mb: float | None = None  # in units of 2**20 bytes; None on a CPU
    periodic_seconds: float = 0.0  # per step, of work that is done once in several steps
    compared_with: str | None = None  # the variant that this reference model is compared with
    attention: Sequence[str] = ()  # kernels that served
    drawing_seconds: float | None = None  # per step; None if the step draws its batch
    seconds: list[float] = field(default_factory=list)  # duration of each round


def time_steps(request: StepTimingsRequest, emit: Emit) -> StepTimingsReply:
    """Times training steps of variants on noise.

    Beside them it times a plain dense JEPA, of the sizes and visible patches of the first variant
    with equal masks for all samples; the product of two matrices in each precision; and attention
    kernels. Takes about the request's `seconds`, in 3 to 15 rounds, once all models are built, and
    a little more for the kernels. A variant that cannot be built has the reason in its entry.
    """
    device = torch.device(request.device)
    clock = partial(read_clock, device)
    unbuildable: list[StepTiming] = []
    runners: list[Runner] = []
    reference: Runner | None = None
    for variant in request.variants:
        emit(ProgressMessage(label=variant.name, done=len(runners)))
        try:
            trial = build(fill_in_matches(convert_sizes(variant.settings))[0], expect=Trial)
        except PartError as error:
            unbuildable.append(StepTiming(name=variant.name, problem=str(error)))
            continue
        runner = build_runner(variant.name, trial, device, clock)
        runners.append(runner)
        reference = reference or build_plain_runner(trial, runner, device)
    if reference is not None:
        runners.append(reference)
    precisions = sorted({runner.precision for runner in runners})
    ceilings = [_build_ceiling(precision, device) for precision in precisions]
    _run_rounds([*runners, *ceilings], request.seconds, clock, emit)
    ceiling_flops = {runner.precision: _compute_flops_rate(runner) for runner in ceilings}
    timings = [_summarize(runner, ceiling_flops[runner.precision]) for runner in runners]
    return StepTimingsReply(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        ceiling_tflops={name: value / 1e12 for name, value in ceiling_flops.items()},
        steps=(*timings, *unbuildable),
        kernels=tuple(time_kernels(device, clock)),
    )


def build_runner(
    name: str, trial: Trial, device: torch.device, clock: Callable[[], float]
) -> Runner:
    """Builds the model of a trial and takes its first step."""
    before = _reset_memory(device)
    unused_folder = Checkpoints(Path("nowhere"))
    trainer = build_trainer(
        trial, NoiseBatches(trial), device, Ranks(), unused_folder, StopSignal()
    )
    state = trainer.create_state()
    draw, drawing_seconds = trainer.drawer.draw, None
    if trainer.drawer.draws_ahead:
        drawing_seconds = time_drawing(trainer.drawer)
        batch = trainer.drawer.draw(0).pin_memory()
        draw = lambda step: batch  # noqa: E731
    step = partial(_take_step, trainer, state, draw)
    served: dict[str, KernelChoice] = {}
    with record_kernels(served):
        step()
    started = clock()
    trainer.measure_health()
    periodic_seconds = (clock() - started) / LOG_EVERY
    return Runner(
        name,
        trial.optimizer.precision,
        step,
        partial(_compute_usage, state.cost),
        _read_peak_memory(device, before),
        periodic_seconds,
        attention=tuple(served),
        drawing_seconds=drawing_seconds,
    )


def _take_step(trainer: Trainer, state: TrainingState, draw: DrawBatch) -> None:
    trainer.step(state, draw(state.cost.steps))


def _compute_usage(cost: TrainingCost) -> dict[str, float]:
    """Returns what a step used on average, and the tokens of a mask."""
    return {
        "clips": cost.clips / cost.steps,
        "audio_hours": cost.audio_seconds / 3600 / cost.steps,
        "tokens": (cost.context_tokens + cost.target_tokens) / cost.steps,
        "context": cost.context_tokens / cost.masks,
        "targets": cost.target_tokens / cost.masks,
        "flops": cost.flops / cost.steps,
    }


def build_plain_runner(trial: Trial, runner: Runner, device: torch.device) -> Runner | None:
    """Builds the plain JEPA for a variant; None if its masks differ in size, or it is not a ViT."""
    promises, (encoder, predictor) = trial.masker.promises, (trial.encoder, trial.predictor)
    has_equal_masks = promises.exact and promises.copies == 1 and trial.batching == "pack"
    if not (has_equal_masks and isinstance(encoder, ViT) and isinstance(predictor, Joint)):
        return None
    sizes = [Sizes(p.dim, p.layers, p.heads, p.mlp_ratio) for p in (encoder, predictor)]
    grid, usage = trial.grid, runner.usage()
    before = _reset_memory(device)
    counts = round(usage["context"]), round(usage["targets"])
    jepa = PlainJEPA(grid.size, trial.patchifier.pixels, *counts, *sizes).to(device)
    plain_step = PlainStep(jepa, trial.optimizer.precision)
    noise, size = NoiseBatches(trial), trial.budget.batch
    drawn = None if device.type == "cpu" else noise.batch(0, size).pin_memory()

    def step() -> None:
        batch = drawn or noise.batch(0, size)
        plain_step(trial.patchifier.cut(batch.mels_on(device)))

    step()
    return Runner(
        PLAIN,
        runner.precision,
        step,
        runner.usage,
        _read_peak_memory(device, before),
        compared_with=runner.name,
    )


def _build_ceiling(precision: str, device: torch.device) -> Runner:
    size = MATRIX_SIZE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return Runner("ceiling", precision, lambda: one @ other, lambda: {"flops": 2.0 * size**3})


def _run_rounds(
    runners: Sequence[Runner], seconds: float, clock: Callable[[], float], emit: Emit
) -> None:
    for runner in runners:
        runner.step()  # the first one is slow
    until = time.monotonic() + seconds
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and time.monotonic() > until:
            return
        emit(ProgressMessage(label="rounds", done=done, total=MAX_ROUNDS))
        for runner in runners:
            started = clock()
            runner.step()
            runner.seconds.append(clock() - started)


def _compute_flops_rate(runner: Runner) -> float:
    return runner.usage()["flops"] / statistics.median(runner.seconds)


def _summarize(runner: Runner, ceiling: float) -> StepTiming:
    """Summarizes the rounds of a runner; `ceiling` is in FLOP/s."""
    usage = runner.usage()
    learning = statistics.median(runner.seconds) + runner.periodic_seconds
    drawing = runner.drawing_seconds
    seconds = max(learning, drawing or 0.0)
    return StepTiming(
        name=runner.name,
        compared_with=runner.compared_with,
        precision=runner.precision,
        milliseconds=1000 * seconds,
        drawing_milliseconds=None if drawing is None else 1000 * drawing,
        attention=tuple(runner.attention),
        clips_per_second=usage["clips"] / seconds,
        tokens_per_second=usage["tokens"] / seconds,
        audio_hours_per_hour=3600 * usage["audio_hours"] / seconds,
        utilisation=usage["flops"] / seconds / ceiling,
        peak_memory_mb=runner.peak_memory_mb,
        rounds=len(runner.seconds),
        context=usage["context"],
        targets=usage["targets"],
        flops=usage["flops"],
    )


def read_clock(device: torch.device) -> float:
    """Returns CPU seconds; on a GPU, wall-clock seconds once the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def _reset_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _read_peak_memory(device: torch.device, before: int) -> float | None:
    """Returns the peak memory of one variant in units of 2**20 bytes; None on a CPU."""
    if device.type != "cuda":
        return None
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20
