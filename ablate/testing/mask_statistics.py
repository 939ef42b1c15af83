"""Statistical tests of many masks: visits, dependence on the seed, on other samples, on batches.

Thresholds are at six standard errors or more, so that a good masker fails less than once in a
million tests; all seeds are fixed, so that what passes once always passes.
"""

import math

import torch
from torch import Tensor

from ablate.model.masking import AbstractMasker
from ablate.testing.cases import Case
from ablate.testing.mask_sample import MaskSample, draw_case

ERRORS = 6.0  # standard errors that are allowed
BATCHES = ((1, 48), (3, 24), (33, 3), (300, 1))  # clips per batch, number of batches
SURE = 50.0  # expected visits from which a patch without one is never visited


def check_visits(sample: MaskSample) -> None:
    """Tests that patches are visited, and about equally often unless the masker says why not."""
    promises = sample.masker.promises
    if promises.unvisited:
        return
    for name, member in (("context", sample.context), ("target", sample.target_union)):
        unpadded = member[:, sample.is_unpadded].flatten(0, 1)
        # the samples of a coupled batch may be equal
        repeated = int(sample.is_unpadded.sum()) if promises.coupled else sample.copies
        visits = unpadded.sum(dim=0, dtype=torch.double).view(sample.grid.freq, sample.grid.time)
        mean = visits.mean()
        sure = (
            mean / 2 / repeated > SURE if not promises.uneven else len(unpadded) / repeated > 1000
        )
        if sure or mean == 0:
            never = visits == 0
            assert not never.any(), f"{_patches(never)} {sample.where} are never {name}"
        if promises.uneven:
            continue
        margin = ERRORS * (mean * repeated).sqrt() + ERRORS * repeated
        seldom, often = visits + margin / 1.4 < mean / 2, visits - 1.5 * margin > mean * 2
        assert not seldom.any(), f"{_patches(seldom)} {sample.where} are too rarely {name}"
        assert not often.any(), f"{_patches(often)} {sample.where} are too often {name}"
    _check_padded_visits(sample)


def _check_padded_visits(sample: MaskSample) -> None:
    """Tests that every patch of a padded clip is visited if it is in whole clips."""
    padded = ~sample.is_unpadded
    if not padded.any() or sample.masker.promises.coupled:
        return
    real = torch.arange(sample.grid.size) % sample.grid.time < min(sample.columns)
    for name, member in (("context", sample.context), ("target", sample.target_union)):
        visits = member[:, padded].flatten(0, 1).sum(dim=0, dtype=torch.double)
        expected = member[:, ~padded].flatten(0, 1).sum(dim=0, dtype=torch.double)
        never = (visits == 0) & (expected > SURE * sample.copies) & real
        never = never.view(sample.grid.freq, sample.grid.time)
        message = f"{_patches(never)} {sample.where} are never {name} in padded clips"
        assert not never.any(), message


def check_slots(sample: MaskSample) -> None:
    """Tests that the masks of every slot differ from seed to seed as much as all masks do."""
    for part in (sample.is_unpadded, ~sample.is_unpadded):
        for name, member in (("context", sample.context), ("targets", sample.target_union)):
            for copy in range(sample.copies):
                chosen = part & (torch.arange(len(part)) % sample.copies == copy)
                if chosen.sum() > 1:
                    _compare_slots(sample, member[:, chosen].double(), name)


def _compare_slots(sample: MaskSample, member: Tensor, name: str) -> None:
    by_slot = member.mean(dim=0)  # (slots, patches)
    pooled = by_slot.mean(dim=0)
    if sample.masker.promises.coupled:  # samples may differ, but none may always be the same
        varied = ((pooled > 0.1) & (pooled < 0.9)).any()
        far = ((by_slot == 0) | (by_slot == 1)).all(dim=1) & varied
    else:
        error = (pooled * (1 - pooled) / len(member)).sqrt() + 1 / len(member)
        far = ((by_slot - pooled).abs() > ERRORS * error).any(dim=1)
    assert not far.any(), (
        f"{sample.where} the {name} of sample {int(far.nonzero()[0])} of a batch are not "
        "distributed as those of others; draw all randomness from `generator`, for each sample"
    )


def check_seeds(sample: MaskSample) -> None:
    """Tests that not all seeds give the same masks, unless some patches are always the same."""
    if sample.grid.size < 8 or sample.num_batches < 4 or sample.masker.promises.unvisited:
        return
    same = [(part == part[:1]).all() for part in (sample.context, sample.targets)]
    assert not all(same), (
        f"{sample.where} all {sample.num_batches} seeds gave the same masks; draw them from "
        "`generator`, or raise `UnsupportedGridError` on grids that leave no choice"
    )


def check_independence(sample: MaskSample) -> None:
    """Tests that the samples of a batch resemble each other no more than those of two batches."""
    if sample.num_batches < 16:
        return
    for part in (sample.is_unpadded, ~sample.is_unpadded):
        first = part & (torch.arange(len(part)) % sample.copies == 0)
        for name, member in (("context", sample.context), ("targets", sample.target_union)):
            masks = member[:, first].float()
            if masks.shape[1] > 1:
                _check_resemblance(sample, masks, name)
                _check_counts(sample, masks.sum(dim=2).double(), name)


def _check_resemblance(sample: MaskSample, masks: Tensor, name: str) -> None:
    """Compares pairs of slots within a batch with the same pairs of two successive batches."""
    signs = 2 * masks - 1
    within = signs @ signs.transpose(1, 2)  # (batches, slots, slots)
    across = signs @ signs.roll(1, dims=0).transpose(1, 2)
    more = (within - across).double()
    error = more.std(dim=0) / math.sqrt(len(more)) + sample.grid.size * 1e-3
    score = more.mean(dim=0) / error
    score.fill_diagonal_(0.0)
    assert score.max() < ERRORS + 2, (
        f"{sample.where} the {name} of samples {_pair(score)} of a batch resemble each other; "
        "draw each sample by itself, or declare `coupled`"
    )


def _check_counts(sample: MaskSample, counts: Tensor, name: str) -> None:
    """Tests that counts do not vary together, in neighbouring slots or in the whole batch."""
    centred = counts - counts.mean(dim=0)
    spread = centred.square().mean()
    if spread < 1e-9:
        return
    slots = counts.shape[1]
    for shift in (1, 2, slots // 2):
        if 0 < shift < slots:
            products = (centred[:, :-shift] * centred[:, shift:] / spread)[:, :: shift + 1]
            error = float(products.std()) / math.sqrt(products.numel())
            related = abs(float(products.mean())) >= max((ERRORS + 1) * error, 0.1)
            assert not related, _counts_message(sample, name)
    excess = centred.mean(dim=1).square().mean() / spread * slots
    assert excess < 1 + 9 * math.sqrt(2 / len(counts)), _counts_message(sample, name)


def _counts_message(sample: MaskSample, name: str) -> str:
    return (
        f"{sample.where} the sizes of the {name} vary together within a batch; draw each sample by "
        "itself, or declare `coupled`"
    )


def check_batches(masker: AbstractMasker, samples: list[MaskSample]) -> None:
    """Tests that masks do not depend on the size of the batch, nor on padding of other clips."""
    candidates = [s for s in samples if 64 <= s.grid.size <= 256 and s.progress == 0.5]
    if not candidates:
        return
    sample = candidates[0]
    grid, copies = sample.grid, sample.copies
    for clips, batches in BATCHES:
        clips = max(1, clips // (copies if clips > 3 else 1))
        cases = [Case(grid, (grid.time,) * clips, 0.5, 10_000 + seed) for seed in range(batches)]
        masks = [mask for case in cases if (mask := draw_case(masker, case)) is not None]
        assert len(masks) == len(cases), f"{grid} is refused for batches of {clips} clips only"
        contexts = torch.cat([mask.context for mask in masks]).double()
        unions = torch.cat([mask.target_union for mask in masks]).double()
        for name, member, others in (
            ("context", sample.context, contexts),
            ("targets", sample.target_union, unions),
        ):
            reference = member[:, sample.is_unpadded].flatten(0, 1).double()
            if _differ(reference.sum(dim=1, keepdim=True), others.sum(dim=1, keepdim=True), copies):
                what = (
                    f"{others.sum(dim=1).mean():.1f} instead of {reference.sum(dim=1).mean():.1f}"
                )
                raise AssertionError(
                    f"the {name} of {grid} hold {what} patches in batches of {clips} whole clips; "
                    "masks must not depend on the batch or on padding of other clips"
                )
            if _differ(reference, others, copies):
                raise AssertionError(
                    f"the {name} of {grid} lie elsewhere in batches of {clips} whole clips; masks "
                    "must not depend on the batch or on padding of other clips"
                )


def _differ(left: Tensor, right: Tensor, copies: int) -> bool:
    """Whether the means of two sets of rows differ by more than their errors, in some column."""
    count = min(len(left), len(right)) / copies
    both = torch.cat([left, right])
    span = both.amax(dim=0) - both.amin(dim=0)  # 0 where all rows are equal
    error = (2 * left.var(dim=0) / count).sqrt() + span / count
    gap = (left.mean(dim=0) - right.mean(dim=0)).abs()
    constant = left.var(dim=0) == 0
    return bool((gap > torch.where(constant, 0.02 * span, ERRORS * error)).any())


def check_copies(sample: MaskSample) -> None:
    """Tests that the masks of a clip differ, and so do the target blocks of a mask."""
    if sample.grid.size < 64:
        return
    if sample.copies > 1:
        masks = sample.context.view(sample.num_batches, sample.clips, sample.copies, -1)
        for other in range(1, sample.copies):
            same = (masks[:, :, 0] == masks[:, :, other]).all(dim=-1).double().mean()
            assert same < 0.5, (
                f"{sample.where} masks 1 and {other + 1} of a clip are often equal; draw each by "
                "itself, or declare fewer `copies`"
            )
    blocks = sample.targets.flatten(0, 1)
    filled = blocks.any(dim=-1)
    for first in range(blocks.shape[1]):
        for other in range(first + 1, blocks.shape[1]):
            both = filled[:, first] & filled[:, other]
            same = (blocks[:, first] == blocks[:, other]).all(dim=-1) & both
            assert same.sum() <= 0.5 * both.sum() or both.sum() < 16, (
                f"{sample.where} target blocks {first + 1} and {other + 1} are often equal; each "
                "would be predicted for nothing"
            )


def _pair(score: Tensor) -> str:
    place = int(score.argmax())
    return f"{place // len(score)} and {place % len(score)}"


def _patches(marked: Tensor) -> str:
    """Lists the first patches marked in (freq, time)."""
    listed = [f"({row}, {column})" for row, column in marked.nonzero()[:3].tolist()]
    return f"{int(marked.sum())} patches, (freq, time) {', '.join(listed)} first,"
