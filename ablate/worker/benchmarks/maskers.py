"""How long maskers take to draw, beside the plainest draw there is, measured in the same run.

A machine that is busy slows both alike: a masker's time is given as a ratio to one uniform
`rand` and `topk` of the same size, drawn turn by turn with it.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.masking import AbstractMasker, Clips, Grid
from ablate.parts import PartError, build
from ablate.worker.datasets import Emit

VISIBLE = 0.4  # of the grid, in the plain draw
ROUNDS = 15
SECONDS = 2.0  # after which a masker has no further turn
LEAST = 3  # turns that it has at any rate
TARGETS, TARGET_AREA, TARGET_ASPECT = 4, (0.15, 0.20), (0.75, 1.50)  # of the loop's blocks
CONTEXT_AREA = (0.85, 1.00)


def time_maskers(
    maskers: Sequence[Mapping[str, Any]], grid: Grid, batch: int, emit: Emit
) -> dict[str, Any]:
    """Times maskers, each a `name` with its `settings`, and a loop that draws blocks one by one.

    On one thread, `batch` masks a draw. Returns milliseconds, medians, and the ratio to the plain
    draw for each, or why it is refused.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for done, entry in enumerate(maskers):
            progress = {"label": entry["name"], "done": done, "total": len(maskers)}
            emit({"event": "progress", **progress})
            found.append({"name": entry["name"], **_timed(entry["settings"], grid, batch)})
        rng = generator(0, "timing", "loop")
        loop = _beside_plain(lambda: draw_blocks_one_by_one(grid, batch, rng), grid, batch)
    finally:
        torch.set_num_threads(threads)
    return {"grid": str(grid), "batch": batch, "maskers": found, "loop": loop}


def draw_blocks_one_by_one(
    grid: Grid, batch: int, rng: torch.Generator
) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Draws blocks as a collator does that works through its batch sample by sample.

    The same kind of masks as corrected multi-block masking, by the areas and aspects of I-JEPA
    (https://arxiv.org/abs/2301.08243), returned as collators do: the indices of each sample's
    context, (context,), and of each of its target blocks. Kept as the yardstick of what
    vectorising gains, not for use.
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


def _timed(settings: Mapping[str, Any], grid: Grid, batch: int) -> dict[str, Any]:
    try:
        masker = build(settings, expect=AbstractMasker)
    except PartError as error:
        return {"refused": "; ".join(map(str, error.problems))}
    promises = masker.promises
    rng = generator(0, "timing", "mask")
    content = None
    if promises.needs is not None:
        content = torch.rand(batch, grid.size, 64, generator=rng)

    clips = Clips.unpadded(grid, batch, progress=0.5, content=content)

    def draw() -> object:
        return masker.draw(clips, rng)

    try:
        found = _beside_plain(draw, grid, batch)
    except ValueError as error:
        return {"refused": str(error)}
    return {"refused": None, "slow": promises.slow, "copies": promises.copies, **found}


def _beside_plain(draw: Callable[[], object], grid: Grid, batch: int) -> dict[str, float]:
    """Times two draws turn by turn; returns their medians in milliseconds, and the ratio."""
    rng = generator(0, "timing", "plain")
    visible = round(VISIBLE * grid.size)

    def plain() -> object:
        return torch.rand(batch, grid.size, generator=rng).topk(visible)

    mine: list[float] = []
    theirs: list[float] = []
    plain(), draw()  # what is only slow at first
    started = time.perf_counter()
    while len(mine) < LEAST or (len(mine) < ROUNDS and time.perf_counter() - started < SECONDS):
        theirs.append(_milliseconds(plain))
        mine.append(_milliseconds(draw))
    took, beside = statistics.median(mine), statistics.median(theirs)
    return {"milliseconds": took, "plain_milliseconds": beside, "ratio": took / beside}


def _milliseconds(draw: Callable[[], object]) -> float:
    started = time.perf_counter()
    draw()
    return 1000 * (time.perf_counter() - started)
