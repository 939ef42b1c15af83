"""Times how long maskers take to draw, relative to one uniform `rand` and `topk` of the same size.

Both are measured in alternation, because other load on the machine slows both alike.
"""

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.core.records.benchmarks import (
    DrawTiming,
    MaskerTiming,
    MaskerTimingsReply,
    MaskerTimingsRequest,
    NamedMasker,
)
from ablate.core.records.messages import ProgressMessage
from ablate.model.masking import AbstractMasker, Clips, Grid
from ablate.parts import PartError, build
from ablate.worker.datasets import Emit

VISIBLE = 0.4  # share of the grid in the plain draw
MIN_ROUNDS, MAX_ROUNDS = 3, 15
MAX_SECONDS = 2.0  # per masker; a round that has begun is finished
TARGETS, TARGET_AREA, TARGET_ASPECT = 4, (0.15, 0.20), (0.75, 1.50)  # blocks of the loop
CONTEXT_AREA = (0.85, 1.00)


def time_maskers(request: MaskerTimingsRequest, emit: Emit) -> MaskerTimingsReply:
    """Times maskers on one thread, and a loop that draws the blocks of each sample in turn."""
    grid, batch = Grid(*request.grid), request.batch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        timings = []
        for done, masker in enumerate(request.maskers):
            emit(ProgressMessage(label=masker.name, done=done, total=len(request.maskers)))
            timings.append(_time_masker(masker, grid, batch, slow=request.slow))
        rng, loop = generator(0, "timing", "loop"), None
        if request.loop:
            loop = _compare_with_plain(
                lambda: draw_blocks_one_by_one(grid, batch, rng), grid, batch
            )
    finally:
        torch.set_num_threads(threads)
    return MaskerTimingsReply(grid=str(grid), batch=batch, maskers=tuple(timings), loop=loop)


def draw_blocks_one_by_one(
    grid: Grid, batch: int, rng: torch.Generator
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Draws blocks sample by sample, as a collator does; only to measure what vectorising gains.

    The masks are those of corrected multi-block masking, with the areas and aspects of I-JEPA
    (https://arxiv.org/abs/2301.08243). Returns, per sample, the indices of its context, (context,),
    and of each of its target blocks.
    """
    contexts, targets = [], []
    for _ in range(batch):
        hidden = torch.zeros(grid.freq, grid.time, dtype=torch.bool)
        blocks = []
        for _ in range(TARGETS):
            block = _block(grid, TARGET_AREA, TARGET_ASPECT, rng)
            hidden |= block
            blocks.append(block.flatten().nonzero().squeeze(1))
        seen = _block(grid, CONTEXT_AREA, (1.0, 1.0), rng) & ~hidden
        contexts.append(seen.flatten().nonzero().squeeze(1))
        targets.append(blocks)
    return contexts, targets


def _block(
    grid: Grid, area: tuple[float, float], aspect: tuple[float, float], rng: torch.Generator
) -> Tensor:
    share, tilt, top, left = torch.rand(4, generator=rng).tolist()
    share = area[0] + share * (area[1] - area[0])
    ratio = math.exp(math.log(aspect[0]) + tilt * math.log(aspect[1] / aspect[0]))
    height = min(grid.freq, max(1, round(math.sqrt(share * ratio) * grid.freq)))
    width = min(grid.time, max(1, round(share * grid.size / height)))
    first, start = int(top * (grid.freq - height + 1)), int(left * (grid.time - width + 1))
    block = torch.zeros(grid.freq, grid.time, dtype=torch.bool)
    block[first : first + height, start : start + width] = True
    return block


def _time_masker(entry: NamedMasker, grid: Grid, batch: int, *, slow: bool) -> MaskerTiming:
    try:
        masker = build(entry.settings, expect=AbstractMasker)
    except PartError as error:
        return MaskerTiming(name=entry.name, problem="; ".join(map(str, error.problems)))
    promises = masker.promises
    if promises.slow and not slow:
        return MaskerTiming(name=entry.name, problem=None, slow=promises.slow)
    rng = generator(0, "timing", "mask")
    content = None
    if promises.needs is not None:
        content = torch.rand(batch, grid.size, 64, generator=rng)

    clips = Clips.unpadded(grid, batch, progress=0.5, content=content)

    def draw() -> object:
        return masker.draw(clips, rng)

    try:
        timing = _compare_with_plain(draw, grid, batch)
    except ValueError as error:
        return MaskerTiming(name=entry.name, problem=str(error))
    return MaskerTiming(
        name=entry.name,
        problem=None,
        slow=promises.slow,
        copies=promises.copies,
        milliseconds=timing.milliseconds,
        plain_milliseconds=timing.plain_milliseconds,
        ratio=timing.ratio,
    )


def _compare_with_plain(draw: Callable[[], object], grid: Grid, batch: int) -> DrawTiming:
    """Times a draw and the plain draw in alternation."""
    rng = generator(0, "timing", "plain")
    visible = round(VISIBLE * grid.size)

    def plain() -> object:
        return torch.rand(batch, grid.size, generator=rng).topk(visible)

    times: list[float] = []
    plain_times: list[float] = []
    plain(), draw()  # the first call of each is slow
    started = time.perf_counter()
    while len(times) < MIN_ROUNDS or (
        len(times) < MAX_ROUNDS and time.perf_counter() - started < MAX_SECONDS
    ):
        plain_times.append(_measure_milliseconds(plain))
        times.append(_measure_milliseconds(draw))
    median, plain_median = statistics.median(times), statistics.median(plain_times)
    return DrawTiming(
        milliseconds=median, plain_milliseconds=plain_median, ratio=median / plain_median
    )


def _measure_milliseconds(draw: Callable[[], object]) -> float:
    started = time.perf_counter()
    draw()
    return 1000 * (time.perf_counter() - started)
