"""Tests that maskers and patchifiers keep their promises, ours and yours, with Hypothesis.

Call `check_masker(MyMasker())` or `check_patchifier(MyPatchifier())` in a test. The strategies
`grids` and `cases` are for further tests of your own.
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
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, UnsupportedGridError
from ablate.model.patchify import AbstractPatchifier

# (rows, columns) of AudioMAE, M2D and Audio-JEPA; of an image, strips, and a tiny clip
NAMED_GRIDS = (Grid(8, 64), Grid(5, 38), Grid(8, 16), Grid(14, 14), Grid(1, 32), Grid(2, 3))


class Case(NamedTuple):
    """The input of a masker."""

    grid: Grid
    columns: tuple[int, ...]  # (batch,), the number of columns of each clip that are not padding
    progress: float
    seed: int

    @property
    def valid(self) -> Tensor:
        """Marks the patches that are not padding, bool (batch, patches)."""
        times = torch.arange(self.grid.time) < torch.tensor(self.columns).unsqueeze(-1)
        return times.unsqueeze(1).expand(-1, self.grid.freq, -1).flatten(1)

    @property
    def clips(self) -> Clips:
        """The clips without content."""
        return Clips(grid=self.grid, valid=self.valid, progress=self.progress)


@st.composite
def grids(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256) -> Grid:
    """Draws grids of at least two patches, including thin and tiny ones."""
    freq = draw(st.integers(1, max_freq))
    return Grid(freq, draw(st.integers(1 if freq > 1 else 2, max_time)))


@st.composite
def cases(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256, max_batch: int = 8) -> Case:
    """Draws inputs of a masker: clips of unequal length, each with at least two valid patches."""
    grid = draw(grids(max_freq, max_time))
    least = 1 if grid.freq > 1 else 2
    lengths = st.integers(least, grid.time)
    columns = draw(st.lists(lengths, min_size=1, max_size=max_batch))
    return Case(grid, tuple(columns), draw(st.floats(0, 1)), draw(st.integers(0, 2**32)))


def check_masker(masker: AbstractMasker, *, max_examples: int = 50, draws: int = 4096) -> None:
    """Tests a masker against every promise of `AbstractMasker`, on grids of 2 to 4096 patches.

    Args:
        masker: The masker. If it needs content, it gets random numbers, 8 per patch.
        max_examples: Number of inputs to draw with Hypothesis.
        draws: Number of masks per grid of `NAMED_GRIDS` in which the visits of patches are counted.

    Raises:
        AssertionError: For the first broken promise, with the smallest input that breaks it.

    Example:
        >>> import ablate
        >>> import maskers
        >>> ablate.check_masker(maskers.Random(ratio=0.6), max_examples=5, draws=256)
    """

    @_profile(max_examples)
    @given(case=cases())
    def keeps_its_promises(case: Case) -> None:
        note(f"masker: {masker}")
        try:
            mask = _draw_untouched(masker, case)
        except UnsupportedGridError as refusal:
            if not str(refusal):
                raise AssertionError(f"{case.grid} is refused without a reason") from refusal
            return
        check_mask(masker, mask, case.grid, case.valid)
        again = _draw(masker, case)
        assert torch.equal(mask.context, again.context), "one seed gave two contexts"
        assert torch.equal(mask.targets, again.targets), "one seed gave two sets of targets"

    try:
        keeps_its_promises()
    except Flaky as error:  # a promise was broken once, but not when tried again
        message = "one seed gave two different masks; use no randomness but `generator`"
        raise AssertionError(message) from error
    for grid in NAMED_GRIDS:
        _check_visits(masker, grid, draws)


def check_patchifier(patchifier: AbstractPatchifier, *, max_examples: int = 50) -> None:
    """Tests a patchifier against every promise of `AbstractPatchifier`.

    Args:
        patchifier: The patchifier.
        max_examples: Number of sizes to draw with Hypothesis: 1 to 16x256 patches, and up to 40
            bands or frames more or less.

    Raises:
        AssertionError: For the first broken promise, with the smallest input that breaks it.

    Example:
        >>> import ablate
        >>> from ablate.model.patchify import Rectangles
        >>> ablate.check_patchifier(Rectangles(freq=16, time=8), max_examples=5)
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
        expected = patchifier.cut(valid_frames.float().unsqueeze(1).repeat(1, bands, 1)).amax(dim=2)
        assert valid.dtype == torch.bool, "`valid` is not bool"
        assert torch.equal(valid, expected.bool()), (
            "`valid` does not mark the patches that contain a frame which is not padding"
        )

    keeps_its_promises()
    one = patchifier.grid(*patchifier.size)
    assert one.size == 1, f"a mel of one patch's size, {patchifier.size}, has {one.size} patches"


def _check_round_trip(patchifier: AbstractPatchifier, grid: Grid, bands: int, frames: int) -> None:
    count = bands * frames
    mels = torch.arange(1.0, 2 * count + 1).view(2, bands, frames) / count  # no two values alike
    before = mels.clone()
    patches = patchifier.cut(mels)
    shape, expected_shape = tuple(patches.shape), (2, grid.size, patchifier.pixels)
    assert shape == expected_shape, f"cut gave {shape}, not {expected_shape}"
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
    """Asserts that a number in the reason would work: as bands, as frames, or as a setting."""
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    numbers = {int(number) for number in re.findall(r"\d+", reason)}
    # the patch's own size would work anywhere, so naming it does not help
    useful_bands = numbers - {bands, freq, freq_stride} | numbers & {1}
    useful_frames = numbers - {frames, time, time_stride} | numbers & {1}
    remedies = [(patchifier, n, time) for n in useful_bands]
    remedies += [(patchifier, freq, n) for n in useful_frames]
    remedies += [(other, bands, frames) for n in numbers for other in _vary(patchifier, n)]
    if not any(_fits(*case) for case in remedies):
        reason = f"{bands}x{frames} is refused without naming a number that works: {reason}"
        raise AssertionError(reason)


def _fits(patchifier: AbstractPatchifier, bands: int, frames: int) -> bool:
    try:
        return patchifier.grid(bands, frames).size > 0
    except ValueError:
        return False


def _vary(patchifier: AbstractPatchifier, number: int) -> Iterator[AbstractPatchifier]:
    """Yields the patchifier with each of its integer settings replaced in turn."""
    for field in dataclasses.fields(patchifier):  # type: ignore[arg-type]
        if type(getattr(patchifier, field.name)) is int:
            with contextlib.suppress(ValueError):
                yield dataclasses.replace(patchifier, **{field.name: number})  # type: ignore[type-var]


@st.composite
def _sizes(draw: st.DrawFn, patchifier: AbstractPatchifier) -> tuple[int, int]:
    """Draws bands and frames that fit whole patches, or miss that along one axis."""
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
    """Draws a mask and asserts that no generator of torch, numpy or Python was used."""
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
    # the samples of a coupled batch count as one draw
    clips = 1 if promises.coupled else draws
    try:
        masks = [
            _draw(masker, Case(grid, (grid.time,) * clips, 0.5, seed))
            for seed in range(draws // clips)
        ]
    except UnsupportedGridError:
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
    """Lists the first patches marked in (freq, time)."""
    listed = [f"({row}, {column})" for row, column in marked.nonzero()[:3].tolist()]
    return f"{int(marked.sum())} patches, (freq, time) {', '.join(listed)} first,"
