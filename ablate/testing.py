"""The promises of maskers and patchifiers, as a test for these and for yours.

`check_masker(MyMasker())` and `check_patchifier(MyPatchifier())`. The strategies are exported for
tests of your own. A broken promise raises `AssertionError` with the smallest case that breaks it.
"""

import contextlib
import dataclasses
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from torch import Tensor

from ablate.core.random import generator
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Clips, Grid, GridRefusedError, Mask
from ablate.model.patchify import AbstractPatchifier

# rows by columns: squares of AudioMAE, M2D and Audio-JEPA, an image, strips, and a tiny clip
NAMED_GRIDS = (Grid(8, 64), Grid(5, 38), Grid(8, 16), Grid(14, 14), Grid(1, 32), Grid(2, 3))


class Case(NamedTuple):
    """What a masker is called with; `columns` (batch,) counts each sample's real time columns."""

    grid: Grid
    columns: tuple[int, ...]
    progress: float
    seed: int

    @property
    def valid(self) -> Tensor:
        """Which patches are real and no padding, bool (batch, patches)."""
        times = torch.arange(self.grid.time) < torch.tensor(self.columns).unsqueeze(-1)
        return times.unsqueeze(1).expand(-1, self.grid.freq, -1).flatten(1)

    @property
    def clips(self) -> Clips:
        """The clips without content."""
        return Clips(grid=self.grid, valid=self.valid, progress=self.progress)


@st.composite
def grids(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256) -> Grid:
    """Grids of two patches and more, thin and tiny ones included."""
    freq = draw(st.integers(1, max_freq))
    return Grid(freq, draw(st.integers(1 if freq > 1 else 2, max_time)))


@st.composite
def cases(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256, max_batch: int = 8) -> Case:
    """Calls to a masker, with clips of unequal length that have at least two real patches."""
    grid = draw(grids(max_freq, max_time))
    least = 1 if grid.freq > 1 else 2
    lengths = st.integers(least, grid.time)
    columns = draw(st.lists(lengths, min_size=1, max_size=max_batch))
    return Case(grid, tuple(columns), draw(st.floats(0, 1)), draw(st.integers(0, 2**32)))


def check_masker(masker: AbstractMasker, *, max_examples: int = 50, draws: int = 4096) -> None:
    """Checks a masker against every promise of `AbstractMasker`, on grids from 2 to 4096 patches.

    Draws `max_examples` cases with Hypothesis, then counts visits over `draws` masks on each of
    `NAMED_GRIDS`. Maskers that need content are given random floats of 8 dimensions.
    """

    @_profile(max_examples)
    @given(case=cases())
    def keeps_its_promises(case: Case) -> None:
        note(f"masker: {masker}")
        try:
            mask = _draw_untouched(masker, case)
        except GridRefusedError as refusal:
            if not str(refusal):
                raise AssertionError(f"{case.grid} is refused without a reason") from refusal
            return
        check_mask(masker, mask, case.grid, case.valid)
        again = _draw(masker, case)
        assert torch.equal(mask.context, again.context), "one seed gave two contexts"
        assert torch.equal(mask.targets, again.targets), "one seed gave two sets of targets"

    try:
        keeps_its_promises()
    except Flaky as error:  # a promise was broken once, and kept on the next try
        message = "one seed gave two different masks; all chance must come from `generator`"
        raise AssertionError(message) from error
    for grid in NAMED_GRIDS:
        _check_visits(masker, grid, draws)


def check_patchifier(patchifier: AbstractPatchifier, *, max_examples: int = 50) -> None:
    """Checks a patchifier against every promise of `AbstractPatchifier`.

    Draws `max_examples` sizes of sound with Hypothesis, from 1 to 16x256 patches and up to 40
    bands or frames beside that, with clips of any length in them.
    """

    @_profile(max_examples)
    @given(sizes=_sizes(patchifier), lengths=st.lists(st.floats(0, 1), min_size=1, max_size=3))
    def keeps_its_promises(sizes: tuple[int, int], lengths: list[float]) -> None:
        bands, frames = sizes
        note(f"patchifier: {patchifier}; a mel of {bands} bands and {frames} frames")
        try:
            grid = patchifier.grid(bands, frames)
        except ValueError as refusal:
            _check_refusal(patchifier, bands, frames, str(refusal))
            return
        _check_round_trip(patchifier, grid, bands, frames)
        real = torch.tensor([round(length * frames) for length in lengths])
        valid_frames = torch.arange(frames) < real.unsqueeze(1)
        valid = patchifier.valid(valid_frames, bands)
        held = patchifier.cut(valid_frames.float().unsqueeze(1).repeat(1, bands, 1)).amax(dim=2)
        assert valid.dtype == torch.bool, "`valid` is not bool"
        assert torch.equal(valid, held.bool()), (
            "`valid` does not mark the patches that hold a real frame"
        )

    keeps_its_promises()
    one = patchifier.grid(*patchifier.size)
    assert one.size == 1, f"a mel of one patch's size, {patchifier.size}, has {one.size} patches"


def _check_round_trip(patchifier: AbstractPatchifier, grid: Grid, bands: int, frames: int) -> None:
    count = bands * frames
    mels = torch.arange(1.0, 2 * count + 1).view(2, bands, frames) / count  # no two values alike
    before = mels.clone()
    patches = patchifier.cut(mels)
    shape, wanted = tuple(patches.shape), (2, grid.size, patchifier.pixels)
    assert shape == wanted, f"cut gave {shape}, not {wanted}"
    tall, long = patchifier.covered(bands, frames)
    back = patchifier.paste(patches, bands, frames)
    expected = torch.zeros_like(mels)
    expected[:, :tall, :long] = mels[:, :tall, :long]
    assert back.shape == mels.shape, f"paste gave {tuple(back.shape)}, not {tuple(mels.shape)}"
    assert torch.allclose(back, expected, atol=1e-5), (
        "pasting the cut patches does not give the mel back"
    )
    assert torch.equal(mels, before), "the mel was changed"
    starts = patchifier.cut(mels)[0, :, 0].view(grid.freq, grid.time)
    ordered = bool((starts.diff(dim=0) > 0).all() and (starts.diff(dim=1) > 0).all())
    assert ordered, "patches are not ordered row by row, from low to high and from first to last"


def _check_refusal(patchifier: AbstractPatchifier, bands: int, frames: int, reason: str) -> None:
    """Checks that a number in the reason would do: as bands, as frames, or in a setting."""
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    told = {int(number) for number in re.findall(r"\d+", reason)}
    # the patch's own size would do anywhere, and being told of it helps nobody
    cured = [(patchifier, n, time) for n in told - {bands, freq, freq_stride} | told & {1}]
    cured += [(patchifier, freq, n) for n in told - {frames, time, time_stride} | told & {1}]
    cured += [(other, bands, frames) for n in told for other in _with(patchifier, n)]
    if not any(_fits(*case) for case in cured):
        reason = f"{bands}x{frames} is refused without naming a number that works: {reason}"
        raise AssertionError(reason)


def _fits(patchifier: AbstractPatchifier, bands: int, frames: int) -> bool:
    try:
        return patchifier.grid(bands, frames).size > 0
    except ValueError:
        return False


def _with(patchifier: AbstractPatchifier, number: int) -> Iterator[AbstractPatchifier]:
    """Yields the patchifier with each of its whole numbers replaced."""
    for field in dataclasses.fields(patchifier):  # type: ignore[arg-type]
        if type(getattr(patchifier, field.name)) is int:
            with contextlib.suppress(ValueError):
                yield dataclasses.replace(patchifier, **{field.name: number})  # type: ignore[type-var]


@st.composite
def _sizes(draw: st.DrawFn, patchifier: AbstractPatchifier) -> tuple[int, int]:
    """Bands and frames that hold whole patches, or miss that along one axis."""
    counts = draw(st.integers(1, 16)), draw(st.integers(1, 256))
    beside = draw(st.sampled_from([(0, 0), (1, 0), (0, 1)]))
    bands, frames = (
        max(1, size + (count - 1) * stride + miss * draw(st.integers(-40, 40)))
        for count, size, stride, miss in zip(
            counts, patchifier.size, patchifier.stride, beside, strict=True
        )
    )
    return bands, frames


def _profile(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )


def _draw(masker: AbstractMasker, case: Case) -> Mask:
    content = None
    if masker.promises.needs is not None:
        shape = (len(case.columns), case.grid.size, 8)
        content = torch.rand(shape, generator=generator(case.seed, "content"))
    clips = dataclasses.replace(case.clips, content=content)
    return masker.draw(clips, generator(case.seed, "mask"))


def _draw_untouched(masker: AbstractMasker, case: Case) -> Mask:
    """Draws a mask and checks that the generators of torch, numpy and Python were left alone."""
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # type: ignore[index]
    mask = _draw(masker, case)
    assert torch.equal(before[0], torch.get_rng_state()), "torch's global generator was used"
    assert np.array_equal(before[1], np.random.get_state()[1]), "numpy's generator was used"  # type: ignore[index]
    assert before[2] == random.getstate(), "Python's global generator was used"
    return mask


def _check_visits(masker: AbstractMasker, grid: Grid, draws: int) -> None:
    promises = masker.promises
    if promises.unvisited:
        return
    # samples of a coupled batch are one draw
    clips = 1 if promises.coupled else draws
    try:
        masks = [
            _draw(masker, Case(grid, (grid.time,) * clips, 0.5, seed))
            for seed in range(draws // clips)
        ]
    except GridRefusedError:
        return
    context = torch.cat([mask.context for mask in masks])
    targets = torch.cat([mask.target_union for mask in masks])
    for name, member in (("context", context), ("target", targets)):
        visits = member.sum(dim=0, dtype=torch.float).view(grid.freq, grid.time)
        assert visits.all(), f"{_patches(visits == 0)} on {grid} are never {name}"
        if not promises.uneven:
            seldom, often = visits * 2 < visits.mean(), visits > visits.mean() * 2
            assert not seldom.any(), f"{_patches(seldom)} on {grid} are too rarely {name}"
            assert not often.any(), f"{_patches(often)} on {grid} are too often {name}"


def _patches(marked: Tensor) -> str:
    """Names the first patches marked in (freq, time)."""
    named = [f"({row}, {column})" for row, column in marked.nonzero()[:3].tolist()]
    return f"{int(marked.sum())} patches, (freq, time) {', '.join(named)} the first,"
