"""Many masks of one masker on one grid, each of which is checked as it is drawn."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, UnsupportedGridError
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
    def is_first(self) -> Tensor:
        """Marks the slot of the first mask of each clip, bool (slots,)."""
        return torch.arange(self.context.shape[1]) % self.copies == 0

    @property
    def where(self) -> str:
        """Says where the masks were drawn, for messages."""
        return f"on {self.grid} at progress {self.progress:g}"


def draw_sample(
    masker: AbstractMasker,
    grid: Grid,
    progress: float,
    batches: int,
    clips: int,
    *,
    backwards: bool = False,
) -> MaskSample | None:
    """Draws batches of masks and checks each mask; None if the grid is refused.

    Args:
        masker: The masker.
        grid: The patches.
        progress: The share of training that is done.
        batches: Number of batches.
        clips: Number of clips per batch.
        backwards: Draws the last batch first; the sample is the same for a masker without state.

    Raises:
        AssertionError: For the first mask that breaks a promise.
    """
    least = 1 if grid.freq > 1 else 2
    short = max(least, grid.time * 3 // 4)
    columns = (grid.time,) * (clips - clips // 2) + (short,) * (clips // 2)
    seeds = range(batches)[::-1] if backwards else range(batches)
    masks: list[Mask] = []
    for seed in seeds:
        mask = draw_case(masker, Case(grid, columns, progress, seed))
        if mask is None:
            assert not masks, f"{grid} is refused for some seeds only; refuse by `clips.grid`"
            check_refusal(masker, grid)
            return None
        masks.append(mask)
    context, targets = stack_masks(masks[::-1] if backwards else masks)
    return MaskSample(masker, grid, progress, columns, context, targets)


def stack_masks(masks: Sequence[Mask]) -> tuple[Tensor, Tensor]:
    """Stacks the contexts and the targets of batches, whose numbers of blocks may differ."""
    blocks = max(mask.targets.shape[1] for mask in masks)
    slots, patches = masks[0].context.shape
    targets = torch.zeros(len(masks), slots, blocks, patches, dtype=torch.bool)
    for row, mask in enumerate(masks):
        targets[row, :, : mask.targets.shape[1]] = mask.targets
    return torch.stack([mask.context for mask in masks]), targets


def create_clips(masker: AbstractMasker, case: Case) -> Clips:
    """Returns the clips of a case, with random content if the masker needs some."""
    content = None
    if masker.promises.needs is not None:
        shape = (len(case.columns), case.grid.size, 8)
        content = torch.rand(shape, generator=generator(case.seed, "content"))
    return dataclasses.replace(case.clips, content=content)


def draw_case(masker: AbstractMasker, case: Case) -> Mask | None:
    """Draws and checks the masks of a case; None if its grid is refused."""
    clips = create_clips(masker, case)
    try:
        mask = draw_unchanged(masker, clips, generator(case.seed, "sample"))
    except UnsupportedGridError:
        return None
    check_mask(masker, mask, case.grid, clips.valid)
    return mask


def draw_unchanged(masker: AbstractMasker, clips: Clips, rng: torch.Generator) -> Mask:
    """Draws masks and asserts that the clips were not changed in place."""
    valid = clips.valid.clone()
    content = None if clips.content is None else clips.content.clone()
    mask = masker.draw(clips, rng)
    assert torch.equal(clips.valid, valid), "`clips.valid` was changed"
    if content is not None and clips.content is not None:
        assert torch.equal(clips.content, content), "`clips.content` was changed"
    return mask


def check_refusal(masker: AbstractMasker, grid: Grid) -> None:
    """Tests that a grid that was refused is refused for whole clips and other seeds, too."""
    for seed in range(4):
        case = Case(grid, (grid.time,), seed / 3, seed)
        try:
            masker.draw(create_clips(masker, case), generator(seed, "refusal"))
        except UnsupportedGridError:
            continue
        raise AssertionError(
            f"{grid} is refused for some clips or seeds only; refuse by `clips.grid`, and draw a "
            "mask for every clip with two valid patches"
        )
