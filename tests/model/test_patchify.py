"""Patchifiers cut and paste as declared, and `check_patchifier` finds each broken promise."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.masking import Clips, Grid
from ablate.model.patchify import AbstractPatchifier, Overlapping, Rectangles, Windows
from ablate.testing import check_patchifier
from maskers import DeadZone, MultiBlock

ALL = [
    Rectangles(),
    Rectangles(freq=64, time=4),
    Rectangles(freq=8, time=100),
    Rectangles(freq=1, time=1),
    Overlapping(),
    Overlapping(rest="drop"),
    Overlapping(freq=64, time=4, freq_stride=64, time_stride=2),
    Overlapping(freq=3, time=3, freq_stride=1, time_stride=1),
    Windows(),
    Windows(time=240, time_stride=160),
    Windows(rest="refuse"),
]
sizes = st.tuples(*[st.integers(1, 5)] * 4)


@given(sizes)
def test_a_patch_contains_its_rectangle_of_the_spectrogram(sizes):
    rows, columns, freq, time = sizes
    patchifier = Rectangles(freq=freq, time=time)
    mels = torch.arange(2.0 * rows * freq * columns * time).view(2, rows * freq, columns * time)
    assert patchifier.grid(*mels.shape[1:]) == Grid(rows, columns)
    patches = patchifier.cut(mels)
    assert patches.shape == (2, rows * columns, patchifier.pixels)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        rectangle = mels[:, row * freq : (row + 1) * freq, column * time : (column + 1) * time]
        assert torch.equal(patches[:, index], rectangle.flatten(1))


@given(sizes, st.integers(1, 25))
def test_a_patch_is_valid_if_it_contains_a_frame_that_is_not_padding(sizes, real):
    rows, columns, freq, time = sizes
    valid_frames = (torch.arange(columns * time) < real).unsqueeze(0)
    valid = Rectangles(freq=freq, time=time).valid(valid_frames, rows * freq)
    for index in range(rows * columns):
        column = index % columns
        frames = valid_frames[0, column * time : (column + 1) * time]
        assert valid[0, index] == frames.any()


@pytest.mark.parametrize(
    ("freq", "time", "message"),
    [
        (24, 16, r"`freq` 24 do not divide 64 mel bands; these would: 1, 2, 4, 8, 16, 32, 64"),
        (16, 100, r"`time` 100 do not divide 128 frames"),
    ],
)
def test_a_patch_size_that_does_not_divide_is_an_error_with_those_that_do(freq, time, message):
    with pytest.raises(ValueError, match=message):
        Rectangles(freq=freq, time=time).grid(64, 128)


def test_a_patch_size_of_zero_is_an_error():
    with pytest.raises(ValueError, match="`time` must be at least 1; got 0"):
        Rectangles(freq=16, time=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq_stride": 17}, r"`freq_stride` must lie in \[1, 16\], the patch's size; got 17"),
        ({"time_stride": 0}, r"`time_stride` must lie in \[1, 16\], the patch's size; got 0"),
    ],
)
def test_a_stride_that_leaves_gaps_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        Overlapping(**changes)


@pytest.mark.parametrize("patchifier", ALL, ids=repr)
def test_every_patchifier_keeps_its_promises(patchifier):
    check_patchifier(patchifier)


@pytest.mark.parametrize(
    ("patchifier", "size", "grid"),
    [
        (Rectangles(), (128, 1024), Grid(8, 64)),  # AudioMAE, EAT, A-JEPA
        (Rectangles(), (128, 256), Grid(8, 16)),  # Audio-JEPA
        (Rectangles(), (80, 608), Grid(5, 38)),  # M2D
        (Rectangles(freq=64, time=4), (64, 1008), Grid(1, 252)),  # Dasheng
        (Overlapping(rest="drop"), (128, 1024), Grid(12, 101)),  # AST
        (Windows(), (1, 160000), Grid(1, 499)),  # wav2vec 2.0, of 10 s
        (Windows(time=240, time_stride=160), (1, 32160), Grid(1, 200)),  # WavJEPA, of 2.01 s
    ],
    ids=str,
)
def test_published_patchifiers_give_the_published_grids(patchifier, size, grid):
    assert patchifier.grid(*size) == grid


def test_the_bands_and_frames_that_ast_drops_are_reported():
    assert Overlapping(rest="drop").covered(128, 1024) == (126, 1016)
    with pytest.raises(
        ValueError, match=r"leave the last 2 of 128 mel bands over; give 126 or 136"
    ):
        Overlapping().grid(128, 1016)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))
def test_an_overlapping_patch_contains_its_rectangle_of_the_spectrogram(
    rows, columns, more_freq, more_time
):
    patchifier = Overlapping(freq=4, time=5, freq_stride=4 - more_freq, time_stride=5 - more_time)
    bands = 4 + (rows - 1) * patchifier.freq_stride
    frames = 5 + (columns - 1) * patchifier.time_stride
    mels = torch.arange(2.0 * bands * frames).view(2, bands, frames)
    patches = patchifier.cut(mels)
    for index in range(rows * columns):
        top = index // columns * patchifier.freq_stride
        left = index % columns * patchifier.time_stride
        rectangle = mels[:, top : top + 4, left : left + 5]
        assert torch.equal(patches[:, index], rectangle.flatten(1))


def test_overlapping_patches_are_averaged():
    patches = torch.tensor([[[0.0, 0.0], [4.0, 4.0], [6.0, 6.0]]])
    pasted = Overlapping(freq=1, time=2, freq_stride=1, time_stride=1).paste(patches, 1, 4)
    assert torch.equal(pasted, torch.tensor([[[0.0, 2.0, 5.0, 6.0]]]))


@given(st.integers(0, 100))
def test_with_a_dead_zone_visible_patches_share_nothing_with_hidden_ones(seed):
    patchifier, rng = Overlapping(), torch.Generator().manual_seed(seed)
    masker = DeadZone(masker=MultiBlock(num_targets=1), freq=1, time=1)
    mask = masker.draw(Clips.unpadded(patchifier.grid(76, 156), 8), rng)

    def mark_covered(chosen):
        patches = chosen.float().unsqueeze(2).expand(-1, -1, patchifier.pixels)
        return patchifier.paste(patches, 76, 156) > 0

    assert not (mark_covered(mask.context) & mark_covered(mask.target_union))[~mask.fallback].any()


def test_windows_are_cut_from_a_waveform_only():
    with pytest.raises(ValueError, match="`mel` gives 64 bands, not 1"):
        Windows().grid(64, 16000)


@dataclass(frozen=True, kw_only=True)
class FaultyPatchifier(AbstractPatchifier):
    """A valid patchifier with one fault."""

    fault: str
    time: int = 6

    @property
    def inner(self):
        return Overlapping(freq=4, time=self.time, freq_stride=2, time_stride=3, rest="drop")

    @property
    def size(self):
        return self.inner.size

    @property
    def stride(self):
        return self.inner.stride

    def grid(self, bands, frames):
        if self.fault == "no number" and frames % 3:
            raise ValueError("so many frames cannot be cut")
        if self.fault == "one too many":
            return Grid(
                self.inner.grid(bands, frames).freq, self.inner.grid(bands, frames).time + 1
            )
        return self.inner.grid(bands, frames)

    def cut(self, mels):
        patches = self.inner.cut(mels)
        if self.fault == "time first":
            grid = self.inner.grid(*mels.shape[1:])
            patches = patches.unflatten(1, (grid.freq, grid.time)).transpose(1, 2).flatten(1, 2)
        if self.fault == "in place":
            mels += 1
        if self.fault == "louder":
            patches = 2 * patches
        return patches

    def paste(self, patches, bands, frames):
        if self.fault == "time first":
            grid = self.inner.grid(bands, frames)
            patches = patches.unflatten(1, (grid.time, grid.freq)).transpose(1, 2).flatten(1, 2)
        pasted = self.inner.paste(patches, bands, frames)
        if self.fault == "summed":
            holders = self.inner.cut(torch.ones(1, bands, frames))
            width = {"kernel_size": self.size, "stride": self.stride}
            fold = torch.nn.functional.fold(holders.transpose(1, 2), (bands, frames), **width)
            pasted = pasted * fold[0].clamp(min=1)
        return pasted

    def valid(self, valid_frames, bands):
        valid = self.inner.valid(valid_frames, bands)
        if self.fault == "padding":
            return torch.ones_like(valid)
        if self.fault == "complete only":
            complete = valid_frames.float().unfold(1, *self.inner.size[1:], 3).amin(dim=2).bool()
            return complete.repeat(1, valid.shape[1] // complete.shape[1])
        return valid.float() if self.fault == "float" else valid


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no number", "is refused without naming a number that works"),
        ("one too many", "cut gave"),
        ("time first", "are not ordered row by row"),
        ("in place", "the mel was changed"),
        ("louder", "does not give the mel back"),
        ("summed", "does not give the mel back"),
        ("padding", "`valid` does not mark the patches that contain a frame which is not padding"),
        (
            "complete only",
            "`valid` does not mark the patches that contain a frame which is not padding",
        ),
        ("float", "`valid` is not bool"),
    ],
)
def test_check_patchifier_reports_a_broken_promise(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_patchifier(FaultyPatchifier(fault=fault))


def test_check_patchifier_accepts_a_patchifier_without_a_fault():
    check_patchifier(FaultyPatchifier(fault="none"))


@dataclass(frozen=True, kw_only=True)
class UnequalBands(AbstractPatchifier):
    """Rows of 2, 4 and 8 bands, each `time` frames long."""

    time: int = 4
    fault: str = "none"

    rows = (2, 4, 8)

    @property
    def size(self):
        return sum(self.rows), self.time

    @property
    def pixels(self):
        return max(self.rows) * self.time

    def grid(self, bands, frames):
        if bands != sum(self.rows):
            raise ValueError(f"{bands} bands are not the {sum(self.rows)} of these rows")
        if frames % self.time:
            whole = frames // self.time * self.time or self.time
            raise ValueError(f"{frames} frames are not whole patches; {whole} would be")
        return Grid(len(self.rows), frames // self.time)

    def cut(self, mels):
        pieces = []
        for row in mels.split(self.rows, dim=1):
            columns = row.unfold(2, self.time, self.time).transpose(1, 2).flatten(2)
            room = self.pixels - columns.shape[2]
            pieces.append(torch.nn.functional.pad(columns, (0, room)))
        if self.fault == "high to low":
            pieces.reverse()
        return torch.cat(pieces, dim=1)

    def paste(self, patches, bands, frames):
        rows = list(patches.chunk(len(self.rows), dim=1))
        if self.fault == "high to low":
            rows.reverse()
        back = []
        for count, row in zip(self.rows, rows, strict=True):
            cells = row[..., : count * self.time].unflatten(2, (count, self.time))
            back.append(cells.transpose(1, 2).flatten(2))
        return torch.cat(back, dim=1)

    def valid(self, valid_frames, bands):
        columns = valid_frames.unflatten(1, (-1, self.time)).any(dim=2)
        return columns.repeat(1, len(self.rows))

    def covered(self, bands, frames):
        self.grid(bands, frames)
        return bands, frames if self.fault != "covers too little" else frames - self.time


@dataclass(frozen=True, kw_only=True)
class Dilated(AbstractPatchifier):
    """Columns of `taps` frames, every other one: frames 0, 2, 4 and 1, 3, 5 of six."""

    taps: int = 3
    bands: int = 4
    fault: str = "none"

    @property
    def size(self):
        return self.bands, 2 * self.taps

    @property
    def pixels(self):
        return self.bands * self.taps

    def grid(self, bands, frames):
        period = 2 * self.taps
        if bands != self.bands or frames % period:
            fitting = frames // period * period or period
            raise ValueError(f"{bands}x{frames} does not fit; {self.bands} by {fitting} would")
        return Grid(1, 2 * frames // period)

    def cut(self, mels):
        cells = mels.unflatten(2, (-1, self.taps, 2))
        return cells.permute(0, 2, 4, 1, 3).flatten(1, 2).flatten(2)

    def paste(self, patches, bands, frames):
        cells = patches.unflatten(2, (bands, self.taps)).unflatten(1, (-1, 2))
        return cells.permute(0, 3, 1, 4, 2).flatten(2)

    def valid(self, valid_frames, bands):
        cells = valid_frames.unflatten(1, (-1, self.taps, 2)).any(dim=2)
        if self.fault == "whole periods":
            cells = cells.any(dim=2, keepdim=True).expand_as(cells)
        return cells.flatten(1)

    def covered(self, bands, frames):
        self.grid(bands, frames)
        return bands, frames


@pytest.mark.parametrize("patchifier", [UnequalBands(), Dilated(), Dilated(taps=5)], ids=repr)
def test_check_patchifier_accepts_patchifiers_that_are_no_lattice(patchifier):
    check_patchifier(patchifier)


@pytest.mark.parametrize(
    ("patchifier", "message"),
    [
        (UnequalBands(fault="high to low"), "are not ordered row by row"),
        (UnequalBands(fault="covers too little"), "does not give the mel back"),
        (Dilated(fault="whole periods"), "`valid` does not mark the patches"),
    ],
    ids=repr,
)
def test_check_patchifier_reports_a_fault_of_a_patchifier_that_is_no_lattice(patchifier, message):
    with pytest.raises(AssertionError, match=message):
        check_patchifier(patchifier)
