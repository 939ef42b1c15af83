"""Tests that masks repeat no more often than by chance: over seeds, samples, copies and blocks."""

import math

import numpy as np
import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.masking import AbstractMasker
from ablate.testing.cases import Case
from ablate.testing.mask_sample import MaskSample, create_clips

ERRORS = 6.0  # standard errors that are allowed
OFTEN = 0.2  # share of equal masks or blocks, beyond chance, from which they are often equal
FEW = 8.0  # repetitions that are allowed where none is expected
VARIED = 8  # different masks in a batch from which two batches are not equal by chance


def check_seeds(sample: MaskSample) -> None:
    """Tests that no two seeds give the same batch, unless it holds few different masks."""
    if sample.grid.size < 8 or sample.num_batches < 4 or sample.masker.promises.unvisited:
        return
    same = [(part == part[:1]).all() for part in (sample.context, sample.targets)]
    assert not all(same), (
        f"{sample.where} all {sample.num_batches} seeds gave the same masks; draw them from "
        "`generator`, or raise `UnsupportedGridError` on grids that leave no choice"
    )
    keys = _hash_masks(sample)
    varied = [len(batch.unique()) >= VARIED for batch in keys]
    batches = [tuple(batch.tolist()) for batch, is_varied in zip(keys, varied, strict=True)]
    repeated = len(batches) - len(set(batches))
    assert not repeated or not all(varied), (
        f"{sample.where} {repeated} of {len(batches)} seeds gave a batch that another gave, too; "
        "draw all randomness from `generator`, and not from a few numbers of it"
    )


def check_generator(masker: AbstractMasker, samples: list[MaskSample]) -> None:
    """Tests that a generator gives other masks when it is used again."""
    for sample in samples[:1]:
        if sample.grid.size < 64 or masker.promises.unvisited:
            return
        clips = create_clips(masker, Case(sample.grid, (sample.grid.time,) * 8, 0.5, 0))
        for seed in range(8):
            rng = generator(seed, "again")
            one, other = masker.draw(clips, rng), masker.draw(clips, rng)
            if not torch.equal(one.context, other.context):
                return
            if not torch.equal(one.target_union, other.target_union):
                return
        raise AssertionError(
            f"{sample.where} a generator gives the same masks when it is used again; draw random "
            "numbers from `generator` itself, and not from its first seed"
        )


def check_repeats(sample: MaskSample) -> None:
    """Tests that masks within a batch are not more often equal than masks of two batches."""
    keys = _hash_masks(sample)
    for part in (sample.is_unpadded, ~sample.is_unpadded):
        within, expected = _count_equal_pairs(keys[:, part & sample.is_first])
        most = FEW + float(expected.sum())
        excess = within - expected
        error = float(excess.std()) / math.sqrt(len(excess))
        # equal masks come in groups where some masks are frequent, and errors are then those seen
        by_chance = most > 4 * FEW and float(excess.mean()) <= ERRORS * error
        assert by_chance or float(within.sum()) <= most + ERRORS * math.sqrt(most), (
            f"{sample.where} {within.sum():.0f} pairs of samples of a batch have the same mask, "
            f"where {expected.sum():.0f} were expected; draw each sample by itself, or declare "
            "`coupled`"
        )


def check_large_batch(sample: MaskSample, context: Tensor, targets: Tensor) -> None:
    """Tests that a large batch of whole clips repeats no mask where `sample` repeats almost none.

    `context`, bool (slots, patches), and `targets`, (slots, blocks, patches), are those of the
    batch.
    """
    keys = _hash_masks(sample)[:, sample.is_unpadded & sample.is_first]
    _, by_chance = _count_equal_pairs(keys)
    if float(by_chance.sum()) >= FEW:
        return
    pairs = len(keys) * keys.shape[1] * (keys.shape[1] - 1) / 2
    large = _hash(context) + 3 * _hash(targets.flatten(1))
    counts = np.unique(large[:: sample.copies].numpy(), return_counts=True)[1]
    within, number = float((counts * (counts - 1)).sum()) / 2, int(counts.sum())
    most = 2 * FEW * number * (number - 1) / 2 / pairs
    assert within <= FEW + most + ERRORS * math.sqrt(FEW + most), (
        f"{within:.0f} pairs of {number} samples of a batch on {sample.grid} have the same mask; "
        "draw each sample by itself, or declare `coupled`"
    )


def _count_equal_pairs(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Counts pairs of equal keys, int64 (batches, slots), in each batch.

    Returns them, and how many were expected from pairs of the batch and the one before it.
    """
    slots = keys.shape[1]
    within = (keys.unsqueeze(2) == keys.unsqueeze(1)).sum(dim=(1, 2)).double()
    across = (keys.unsqueeze(2) == keys.roll(1, dims=0).unsqueeze(1)).sum(dim=(1, 2)).double()
    return (within - slots) / 2, across * (slots - 1) / slots / 2


def check_copies(sample: MaskSample) -> None:
    """Tests that the masks of a clip differ, and so do the target blocks of a mask."""
    if sample.grid.size < 64:
        return
    keys = _hash_masks(sample).view(sample.num_batches, sample.clips, sample.copies)
    always = torch.ones(keys.shape[:2], dtype=torch.bool)
    for first, other in _list_pairs(sample.copies):
        if _is_often_equal(sample, keys[..., first], keys[..., other], always):
            raise AssertionError(
                f"{sample.where} masks {first + 1} and {other + 1} of a clip are often equal; draw "
                "each by itself, or declare fewer `copies`"
            )
    filled = sample.targets.any(dim=-1)[:, :: sample.copies]
    blocks = _hash(sample.targets[:, :: sample.copies])
    for first, other in _list_pairs(blocks.shape[2]):
        both = filled[..., first] & filled[..., other]
        if _is_often_equal(sample, blocks[..., first], blocks[..., other], both):
            raise AssertionError(
                f"{sample.where} target blocks {first + 1} and {other + 1} are often equal; each "
                "would be predicted for nothing"
            )


def _is_often_equal(sample: MaskSample, one: Tensor, other: Tensor, counted: Tensor) -> bool:
    """Whether keys, int64 (batches, clips), agree more often in a clip than with its neighbour."""
    number = int(counted.sum())
    if number < 16:
        return False
    equal = float(((one == other) & counted).sum()) / number
    moved = counted & counted.roll(1, dims=1)
    chance = float(((one == other.roll(1, dims=1)) & moved).sum()) / max(1, int(moved.sum()))
    error = math.sqrt(max(chance * (1 - chance), 1 / number) / number)
    return equal > chance + OFTEN + ERRORS * error


def _list_pairs(count: int) -> list[tuple[int, int]]:
    return [(first, other) for first in range(count) for other in range(first + 1, count)]


def _hash_masks(sample: MaskSample) -> Tensor:
    """Returns a number for each mask, equal only for equal masks, int64 (batches, slots)."""
    return _hash(sample.context) + 3 * _hash(sample.targets.flatten(2))


def _hash(member: Tensor) -> Tensor:
    """Hashes each row, bool (..., patches), to int64 (...)."""
    bits = np.packbits(member.numpy(), axis=-1)
    padding = [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % 8)]
    words = np.pad(bits, padding).view(np.uint64)
    factors = np.random.default_rng(0).integers(2**62, size=words.shape[-1], dtype=np.uint64)
    mixed = words * (2 * factors + 1)
    return torch.from_numpy((mixed ^ mixed >> np.uint64(32)).sum(axis=-1).view(np.int64))
