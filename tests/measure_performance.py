"""Measures what was made faster, and writes the table of `docs/performance.md`.

`python -m tests.measure_performance`, one to two minutes. CPU time is compared, in alternation and
in one run, so that the ratios hold on a busy machine, and roughly on another one.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import nn

from ablate.audio.clip_decoding import decode_clip
from ablate.audio.decoder_pool import DecoderPool
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.core.git import get_commit
from ablate.training.fused_adam import FusedAdam, ParameterGroup
from ablate.worker.benchmarks.plain_jepa import Block, Sizes

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
START, END = "<!-- measured -->", "<!-- end -->"
ROUNDS = 7
CLIPS, SECONDS, RATE = 60, 10, 44100  # the sound to decode


class Ratio(NamedTuple):
    """One row of the table."""

    what: str
    against: str
    times: float  # the time of `against` over the time of `what`


def main() -> None:
    """Measures all rows and writes them into the page."""
    torch.set_num_threads(1)
    rows = [*measure_adam(), measure_start(), *measure_bf16(), measure_decoding()]
    lines = ["| what | measured against | times faster |", "| :--- | :--- | ---: |"]
    lines += [f"| {row.what} | {row.against} | {row.times:.2f} |" for row in rows]
    measured = f"Measured at commit {get_commit()} with torch {torch.__version__}."
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    table = "\n".join((START, *lines, "", measured, END))
    PAGE.write_text(before + table + after, encoding="utf-8")


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


def measure_decoding() -> Ratio:
    """Compares receiving a clip with decoding it: so many processes can decode for one store."""
    with tempfile.TemporaryDirectory() as name:
        source, front_end = _write_sounds(Path(name)), LogMel()
        indices = [*range(CLIPS)]

        def decode_alone() -> None:
            for index in indices:
                for _ in decode_clip(source, front_end, index):
                    pass

        decode_alone()
        alone, received = [], []
        for _ in range(3):
            started = time.process_time()
            decode_alone()
            alone.append(time.process_time() - started)
            with DecoderPool(source, front_end, indices, 2) as pool:
                started = time.process_time()
                for index in indices:
                    for _ in pool.decode(str(index)):
                        pass
                received.append(time.process_time() - started)
    return Ratio(
        "receiving a clip from a decoding process",
        f"decoding it, {SECONDS} s of {RATE / 1000:g} kHz FLAC",
        median(alone) / median(received),
    )


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


def _write_sounds(folder: Path) -> Folder:
    """Writes FLAC files and their manifest."""
    generator = np.random.default_rng(0)
    lines = ["path,label,split"]
    for number in range(CLIPS):
        samples = generator.uniform(-0.3, 0.3, SECONDS * RATE)
        soundfile.write(folder / f"{number}.flac", samples, RATE)
        lines.append(f"{number}.flac,a,train")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Folder(manifest=str(folder / "manifest.csv"))


if __name__ == "__main__":
    main()
