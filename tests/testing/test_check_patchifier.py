"""Tests `check_patchifier`: patchifiers with one fault are found, correct ones are not."""

from dataclasses import dataclass

import pytest
import torch

from ablate.model.masking import Grid
from ablate.model.patchify import AbstractPatchifier, Overlapping
from ablate.testing import check_patchifier


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
            fitting = frames // self.time * self.time or self.time
            raise ValueError(f"{frames} frames are not whole patches; {fitting} would be")
        return Grid(len(self.rows), frames // self.time)

    def cut(self, mels):
        pieces = []
        for row in mels.split(self.rows, dim=1):
            columns = row.unfold(2, self.time, self.time).transpose(1, 2).flatten(2)
            padding = self.pixels - columns.shape[2]
            pieces.append(torch.nn.functional.pad(columns, (0, padding)))
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
