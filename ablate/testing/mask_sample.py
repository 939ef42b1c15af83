"""Many masks of one masker on one grid, each of which is checked as it is drawn."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Grid, Mask, UnsupportedGridError
from ablate.testing.cases import Case


@dataclass(frozen=True)
class MaskSample:
    """Batches of equal shape, one per seed. The second half of each batch is padded.

    Slot `i` is the i-th mask of every batch: its masks are drawn with different seeds, and so are
    independent of each other whatever the masker does within a batch.
    """

    masker: AbstractMasker
    grid: Grid
    progress: float
    columns: tuple[int, ...]  # (clips,), the number of columns of each clip that are not padding
    context: Tensor  # bool (batches, slots, patches)
    targets: Tensor  # bool (batches, slots, blocks, patches)

    @property
    def clips(self) -> int:
        """Number of clips per batch."""
        return len(self.columns)

    @property
    def num_batches(self) -> int:
        """Number of batches, and so of masks per slot."""
        return len(self.context)

    @property
    def copies(self) -> int:
        """Masks per clip."""
        return self.context.shape[1] // self.clips

    @property
    def target_union(self) -> Tensor:
        """Marks the patches in some target block, bool (batches, slots, patches)."""
        return self.targets.any(dim=2)

    @property
    def is_unpadded(self) -> Tensor:
        """Marks the slots of clips without padding, bool (slots,)."""
        unpadded = torch.tensor([count == self.grid.time for count in self.columns])
        return unpadded.repeat_interleave(self.copies)

    @property
    def where(self) -> str:
        """Says where the masks were drawn, for messages."""
        return f"on {self.grid} at progress {self.progress:g}"


def draw_sample(
    masker: AbstractMasker, grid: Grid, progress: float, batches: int, clips: int
) -> MaskSample | None:
    """Draws batches of masks and checks each mask; None if the grid is refused.

    Raises:
        AssertionError: For the first mask that breaks a promise.
    """
    least = 1 if grid.freq > 1 else 2
    short = max(least, grid.time * 3 // 4)
    columns = (grid.time,) * (clips - clips // 2) + (short,) * (clips // 2)
    masks = []
    for seed in range(batches):
        mask = draw_case(masker, Case(grid, columns, progress, seed))
        if mask is None:
            return None
        masks.append(mask)
    blocks = max(mask.targets.shape[1] for mask in masks)
    targets = torch.zeros(batches, *masks[0].context.shape[:1], blocks, grid.size, dtype=torch.bool)
    for row, mask in enumerate(masks):
        targets[row, :, : mask.targets.shape[1]] = mask.targets
    context = torch.stack([mask.context for mask in masks])
    return MaskSample(masker, grid, progress, columns, context, targets)


def draw_case(masker: AbstractMasker, case: Case) -> Mask | None:
    """Draws and checks the masks of a case; None if its grid is refused."""
    clips = case.clips
    if masker.promises.needs is not None:
        shape = (len(case.columns), case.grid.size, 8)
        content = torch.rand(shape, generator=generator(case.seed, "content"))
        clips = dataclasses.replace(clips, content=content)
    try:
        mask = masker.draw(clips, generator(case.seed, "sample"))
    except UnsupportedGridError:
        return None
    check_mask(masker, mask, case.grid, clips.valid)
    return mask
