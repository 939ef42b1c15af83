"""Tests that a patchifier keeps the promises of its contract."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator

import torch
from hypothesis import given, note
from hypothesis import strategies as st

from ablate.model.masking import Grid
from ablate.model.patchify import AbstractPatchifier
from ablate.testing.cases import get_profile


def check_patchifier(patchifier: AbstractPatchifier, *, max_examples: int = 50) -> None:
    """Tests a patchifier against every promise of `AbstractPatchifier`.

    Patches need not be rectangles at regular distances: unequal bands and dilated columns are
    tested alike.

    Args:
        patchifier: The patchifier.
        max_examples: Number of sizes to draw with Hypothesis: of 1 to 16x256 patches of the
            patchifier's `size` and `stride`, and up to 40 bands or frames more or less.

    Raises:
        AssertionError: For the first broken promise, with the smallest input that breaks it.

    Example:
        >>> import ablate
        >>> from ablate.model.patchify import Rectangles
        >>> ablate.check_patchifier(Rectangles(freq=16, time=8), max_examples=5)
    """

    served: list[Grid] = []

    @get_profile(max_examples)
    @given(sizes=_sizes(patchifier), lengths=st.lists(st.floats(0, 1), min_size=1, max_size=3))
    def keeps_its_promises(sizes: tuple[int, int], lengths: list[float]) -> None:
        bands, frames = sizes
        note(f"patchifier: {patchifier}; a mel of {bands} bands and {frames} frames")
        try:
            grid = patchifier.grid(bands, frames)
        except ValueError as refusal:
            _check_refusal(patchifier, bands, frames, str(refusal))
            return
        served.append(grid)
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
    bands, frames = patchifier.size
    try:
        smallest = patchifier.grid(bands, frames)
    except ValueError as refusal:
        raise AssertionError(
            f"a mel of `size`, {bands} bands and {frames} frames, is refused: {refusal}"
        ) from refusal
    _check_round_trip(patchifier, smallest, bands, frames)
    if _is_lattice(patchifier):
        message = f"a mel of one patch's size, {patchifier.size}, has {smallest.size} patches"
        assert smallest.size == 1, message
    assert served, "every size is refused; a patchifier must serve some"


def _is_lattice(patchifier: AbstractPatchifier) -> bool:
    """Whether patches are rectangles at regular distances, as the contract cuts by default."""
    return type(patchifier).cut is AbstractPatchifier.cut


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
    wrong = int((~torch.isclose(back, expected, atol=1e-5)).sum()) // 2
    assert not wrong, (
        f"pasting the cut patches does not give the mel back: {wrong} of {count} values differ in "
        f"a mel of {bands} bands and {frames} frames, of which `covered` says that the first "
        f"{tall} bands and {long} frames are in patches, and the others are pasted as 0"
    )
    assert torch.equal(mels, before), "the mel was changed"
    starts = patchifier.cut(mels)[0, :, 0].view(grid.freq, grid.time)
    ordered = bool((starts.diff(dim=0) > 0).all() and (starts.diff(dim=1) > 0).all())
    assert ordered, "patches are not ordered row by row, from low to high and from first to last"


def _check_refusal(patchifier: AbstractPatchifier, bands: int, frames: int, reason: str) -> None:
    """Asserts that a number in the reason would work: as bands, as frames, or as a setting."""
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    numbers = {int(number) for number in re.findall(r"\d+", reason)}
    useful_bands, useful_frames = numbers - {bands}, numbers - {frames}
    if _is_lattice(patchifier):
        # the patch's own size would work anywhere, so naming it does not help
        useful_bands = useful_bands - {freq, freq_stride} | numbers & {1}
        useful_frames = useful_frames - {time, time_stride} | numbers & {1}
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
    if not _is_lattice(patchifier) and draw(st.booleans()):
        counts = 1, counts[1]  # its bands may fit one number only
    beside = draw(st.sampled_from([(0, 0), (1, 0), (0, 1)]))
    bands, frames = (
        max(1, size + (count - 1) * stride + miss * draw(st.integers(-40, 40)))
        for count, size, stride, miss in zip(
            counts, patchifier.size, patchifier.stride, beside, strict=True
        )
    )
    return bands, frames
