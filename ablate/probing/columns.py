"""Where the columns of a grid lie in a clip that is encoded in consecutive windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import Grid
from ablate.model.patchify import AbstractPatchifier


def find_regular_step(patchifier: AbstractPatchifier, grid: Grid, crop_frames: int) -> int:
    """Finds the distance between windows, in frames, at which all columns are equally far apart.

    The last patch of a window is complete, so overlapping patches need overlapping windows.
    """
    columns, size, stride = grid.time, patchifier.size[1], patchifier.stride[1]
    unused = crop_frames - (columns - 1) * stride - size
    # a patchifier that cuts otherwise: columns are regular on average only
    return columns * stride if 0 <= unused < stride else crop_frames


@dataclass(frozen=True, kw_only=True)
class ClipColumns:
    """The columns of clips, counted over all windows of a clip, without those of padding only."""

    patchifier: AbstractPatchifier
    grid: Grid  # a window has it
    bands: int
    crop_frames: int  # length of a window
    window_step: int  # frames from the start of a window to that of the next
    lengths: Sequence[int]  # frames of each clip

    def count(self, positions: Sequence[int]) -> Tensor:
        """Counts the columns of clips, given by their positions; int64 (positions,)."""
        counts = {position: self._count_clip(self.lengths[position]) for position in {*positions}}
        return torch.tensor([counts[position] for position in positions])

    def _count_clip(self, length: int) -> int:
        last = max(0, (length - 1) // self.window_step)  # number of the last window
        frames = torch.arange(self.crop_frames).unsqueeze(0) < length - last * self.window_step
        valid = self.patchifier.valid(frames, self.bands)
        columns = valid.view(self.grid.freq, self.grid.time).any(dim=0)
        return last * self.grid.time + int(columns.sum())
