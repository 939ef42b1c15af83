"""The parts of a split batch are together the same batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom, generator
from ablate.model.masking import Grid, Mask
from ablate.training.batches import MaskedBatch

GRID = Grid(2, 3)


def draw_batch(clips: int, copies: int, *, with_fallback: bool) -> MaskedBatch:
    """Returns clips whose mels hold their number, with random masks."""
    rng = generator(0, "drawn", clips, copies)
    cells = torch.rand(clips * copies, 3, GRID.size, generator=rng)
    return MaskedBatch(
        Batch(torch.arange(clips).view(-1, 1, 1).float(), torch.ones(clips, 1, dtype=torch.bool)),
        torch.rand(clips, GRID.size, generator=rng) < 0.9,
        Mask(
            cells[:, 0] < 0.5, cells[:, 1:] < 0.3, cells[:, 2, 0] < 0.5 if with_fallback else None
        ),
        StepRandom(seed=0, step=0),
    )


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_concatenated_parts_equal_the_batch(clips, copies, count, with_fallback):
    batch = draw_batch(clips, copies, with_fallback=with_fallback)
    if count > clips:
        with pytest.raises(ValueError, match="cannot be split into"):
            batch.split(count)
        return
    parts = batch.split(count)
    assert len(parts) == count
    sizes = [part.num_clips for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(part.mask.context) == part.num_clips * copies for part in parts)
    assert torch.equal(torch.cat([p.batch.mels for p in parts]), batch.batch.mels)
    assert torch.equal(torch.cat([p.batch.valid_frames for p in parts]), batch.batch.valid_frames)
    assert torch.equal(torch.cat([p.valid for p in parts]), batch.valid)
    assert torch.equal(torch.cat([p.mask.context for p in parts]), batch.mask.context)
    assert torch.equal(torch.cat([p.mask.targets for p in parts]), batch.mask.targets)
    assert [p.rng.first for p in parts] == [int(p.batch.mels[0]) for p in parts]
    if with_fallback:
        assert torch.equal(torch.cat([p.mask.fallback for p in parts]), batch.mask.fallback)
    else:
        assert all(part.mask.fallback is None for part in parts)
