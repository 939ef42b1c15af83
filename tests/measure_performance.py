"""Measures ratios of times, and writes the tables of `docs/performance.md`.

`python -m tests.measure_performance [PEERS.json]`, two to three minutes. CPU time is compared, in
alternation and in one run, so that the ratios hold on a busy machine, and roughly on another one.
PEERS.json is what `ablate bench peers DIR --json` has printed; without it that table stays.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from ablate.cli.bench_peers import build_sizes
from ablate.core.git import get_commit
from ablate.core.records.benchmarks import (
    LoaderTimingsRequest,
    NamedTrial,
    PeerTimingsReply,
    StepTimingsRequest,
)
from ablate.training.fused_adam import FusedAdam, ParameterGroup
from ablate.worker.benchmarks.loader import time_loader
from ablate.worker.benchmarks.plain_jepa import Block, Sizes
from ablate.worker.benchmarks.steps import time_steps
from tests.measure_decoding import list_decoding_ratios, measure_decoding

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
RATIOS, PEERS, END = "<!-- measured -->", "<!-- peers -->", "<!-- end -->"
ROUNDS = 7


class Ratio(NamedTuple):
    """One row of the table."""

    what: str
    against: str
    times: float  # the time of `against` over the time of `what`


def main() -> None:
    """Measures all rows and writes them into the page."""
    torch.set_num_threads(1)
    for file in sys.argv[1:]:
        _replace_table(PEERS, _format_peers(json.loads(Path(file).read_text(encoding="utf-8"))))
    rows = [*measure_adam(), measure_start(), *measure_bf16(), *measure_steps(), measure_loader()]
    rows += [Ratio(*row) for row in list_decoding_ratios(measure_decoding())]
    lines = ["| what | measured against | times faster |", "| :--- | :--- | ---: |"]
    lines += [f"| {row.what} | {row.against} | {row.times:.2f} |" for row in rows]
    measured = f"Measured at commit {get_commit()} with torch {torch.__version__}."
    _replace_table(RATIOS, [*lines, "", measured])


def _replace_table(start: str, lines: list[str]) -> None:
    """Replaces what the page has between a mark and the next end."""
    before, rest = PAGE.read_text(encoding="utf-8").split(start)
    after = rest.split(END, 1)[1]
    PAGE.write_text(before + "\n".join((start, *lines, END)) + after, encoding="utf-8")


def _format_peers(content: dict[str, object]) -> list[str]:
    reply = PeerTimingsReply.from_json(content, "the measurements of peers")
    heads = ("model", "ablate", "compared with", "per", "times faster", "95 %", "rounds")
    lines = [f"| {' | '.join(heads)} |", "| :--- | :--- | :--- | :--- | ---: | ---: | ---: |"]
    for timing in reply.timings:
        low, high = timing.interval
        texts = (timing.size, timing.ours, timing.peer, timing.per)
        numbers = (f"{timing.ratio:.2f}", f"{low:.2f} to {high:.2f}", str(timing.rounds))
        lines.append(f"| {' | '.join((*texts, *numbers))} |")
    measured = (
        f"Batches of {reply.batch} in {reply.precision}, {reply.threads} thread, torch "
        f"{reply.torch}, on {_read_cpu_name()}."
    )
    return [*lines, "", measured]


def compare(one: Callable[[], object], other: Callable[[], object], repeats: int) -> float:
    """Returns the median over rounds of the CPU time of `other` over that of `one`."""
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for run in (one, other):
            started = time.process_time()
            for _ in range(repeats):
                run()
            seconds.append(time.process_time() - started)
        ratios.append(seconds[1] / seconds[0])
    return median(ratios)


def measure_adam() -> Iterator[Ratio]:
    """Compares an update of the weights of a small and of a larger encoder."""
    for dim, layers in ((64, 2), (192, 12)):
        parameters = [*_build_layers(dim, layers).parameters()]
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        group = ParameterGroup(parameters=parameters, decays=True, rate_factor=1.0, rate=1e-6)
        ours = FusedAdam([group], decoupled=True, betas=(0.9, 0.95), eps=1e-8)
        theirs = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
        times = compare(ours.step, theirs.step, 50)
        yield Ratio(f"AdamW, encoder {dim} x {layers}", "`torch.optim.AdamW(fused=True)`", times)


def measure_start() -> Ratio:
    """Compares the start of a worker with an import of the same modules as usual."""
    modules = "ablate.worker.main, ablate.worker.validation"
    usual = f"import {modules}"
    paused = (
        "from ablate.core.fast_imports import paused_garbage_collection\n"
        f"with paused_garbage_collection():\n    import {modules}"
    )
    pairs = [(_time_process(paused), _time_process(usual)) for _ in range(ROUNDS)]
    times = median(other / one for one, other in pairs)
    return Ratio("imports of a worker", "garbage collection not paused", times)


def measure_bf16() -> Iterator[Ratio]:
    """Compares forward and backward passes of encoders in bf16 with fp32, on this CPU."""
    for dim, batch, tokens in ((64, 16, 13), (128, 32, 32), (192, 8, 205)):
        layers = _build_layers(dim, 4)
        clips = torch.randn(batch, tokens, dim)

        def train(
            dtype: torch.dtype | None, layers: nn.Module = layers, clips: torch.Tensor = clips
        ) -> None:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                loss = layers(clips).square().mean()
            loss.backward()

        times = compare(lambda: train(torch.bfloat16), lambda: train(None), 5)
        what = f"bf16, {batch} x {tokens} tokens, {dim} x 4"
        yield Ratio(what, f"fp32 on {_read_cpu_name()}", times)


def measure_steps() -> Iterator[Ratio]:
    """Compares a step on packed blocks with ones that pad or cut their contexts."""
    trial = _build_small_trials()[1]
    variants = [
        NamedTrial(name=batching, settings={**trial.settings, "batching": batching})
        for batching in ("pack", "pad", "truncate_first")
    ]
    request = StepTimingsRequest(variants=tuple(variants), device="cpu", seconds=10)
    times = {s.name: s.milliseconds for s in time_steps(request, lambda message: None).steps}
    for batching in ("pad", "truncate_first"):
        what = "a step on blocks, 64 x 2 on 4x8 patches, packed"
        yield Ratio(what, f"batching `{batching}`", times[batching] / times["pack"])


def measure_loader() -> Ratio:
    """Compares drawing a batch and its masks with a training step on it."""
    trial = _build_small_trials()[0]
    loaded = time_loader(LoaderTimingsRequest(trial=trial, device="cpu"))
    drawing = {t.name: t.milliseconds for t in loaded.timings}["draw, masks included"]
    request = StepTimingsRequest(variants=(trial,), device="cpu", seconds=5)
    step = time_steps(request, lambda message: None).steps[0].milliseconds
    return Ratio("drawing a batch with its masks", "a step on it, 64 x 2 on 4x8", step / drawing)


def _build_small_trials() -> tuple[NamedTrial, ...]:
    return next(iter(build_sizes("cpu").values()))


def _build_layers(dim: int, layers: int) -> nn.Sequential:
    sizes = Sizes(dim=dim, layers=layers, heads=2, mlp_ratio=4.0)
    return nn.Sequential(*(Block(sizes) for _ in range(layers)))


def _time_process(code: str) -> float:
    """Returns the CPU seconds that a Python process takes for some code."""
    timed = f"{code}\nimport sys, time\nsys.stdout.write(str(time.process_time()))"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _read_cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "an unknown CPU"


if __name__ == "__main__":
    main()
