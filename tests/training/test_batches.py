"""A batch that is cut into parts is the same batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom, generator
from ablate.model.masking import Grid, Mask
from ablate.training.batches import Drawn

GRID = Grid(2, 3)


def drawn(clips: int, copies: int, *, guarded: bool) -> Drawn:
    """Clips whose mels tell them apart, with masks of no pattern."""
    rng = generator(0, "drawn", clips, copies)
    cells = torch.rand(clips * copies, 3, GRID.size, generator=rng)
    return Drawn(
        Batch(torch.arange(clips).view(-1, 1, 1).float(), torch.ones(clips, 1, dtype=torch.bool)),
        torch.rand(clips, GRID.size, generator=rng) < 0.9,
        Mask(cells[:, 0] < 0.5, cells[:, 1:] < 0.3, cells[:, 2, 0] < 0.5 if guarded else None),
        StepRandom(seed=0, step=0),
    )


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_parts_side_by_side_are_the_whole(clips, copies, count, guarded):
    whole = drawn(clips, copies, guarded=guarded)
    if count > clips:
        with pytest.raises(ValueError, match="cannot be cut into"):
            whole.parts(count)
        return
    parts = whole.parts(count)
    assert len(parts) == count
    sizes = [part.clips for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all(len(part.mask.context) == part.clips * copies for part in parts)
    assert torch.equal(torch.cat([p.batch.mels for p in parts]), whole.batch.mels)
    assert torch.equal(torch.cat([p.batch.valid_frames for p in parts]), whole.batch.valid_frames)
    assert torch.equal(torch.cat([p.valid for p in parts]), whole.valid)
    assert torch.equal(torch.cat([p.mask.context for p in parts]), whole.mask.context)
    assert torch.equal(torch.cat([p.mask.targets for p in parts]), whole.mask.targets)
    assert [p.rng.first for p in parts] == [int(p.batch.mels[0]) for p in parts]
    if guarded:
        assert torch.equal(torch.cat([p.mask.fallback for p in parts]), whole.mask.fallback)
    else:
        assert all(part.mask.fallback is None for part in parts)
