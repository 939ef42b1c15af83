"""Statistical tests of many masks: how often patches are visited, in all slots alike.

Thresholds are at six standard errors or more, so that a good masker fails less than once in a
million tests; all seeds are fixed, so that what passes once always passes.
"""

import torch
from torch import Tensor

from ablate.testing.mask_sample import MaskSample

ERRORS = 6.0  # standard errors that are allowed
MANY = 1000  # masks after which even rare patches are visited
PADDED_FACTOR = 10.0  # clips that are padded have an edge elsewhere than the grid
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
            mean / 2 / repeated > SURE if not promises.uneven else len(unpadded) / repeated > MANY
        )
        if sure or mean == 0:
            never = visits == 0
            assert not never.any(), f"{_patches(never)} {sample.where} are never {name}"
        if promises.uneven:
            continue
        _check_even(visits, mean, repeated, f"{sample.where} are", name)
    _check_padded_visits(sample)


def _check_even(
    visits: Tensor, mean: Tensor, repeated: int, where: str, name: str, factor: float = 2.0
) -> None:
    """Tests that visits, (freq, time), differ by at most a factor from their mean."""
    margin = ERRORS * (mean * repeated).sqrt() + ERRORS * repeated
    seldom, often = visits + margin / 1.4 < mean / factor, visits - 1.5 * margin > mean * factor
    assert not seldom.any(), f"{_patches(seldom)} {where} too rarely {name}"
    assert not often.any(), f"{_patches(often)} {where} too often {name}"


def _check_padded_visits(sample: MaskSample) -> None:
    """Tests that the patches of padded clips are visited as those of whole clips are."""
    padded = ~sample.is_unpadded
    if not padded.any() or sample.masker.promises.coupled:
        return
    real = torch.arange(sample.grid.size) % sample.grid.time < min(sample.columns)
    for name, member in (("context", sample.context), ("target", sample.target_union)):
        visits = member[:, padded].flatten(0, 1).sum(dim=0, dtype=torch.double)
        expected = member[:, ~padded].flatten(0, 1).sum(dim=0, dtype=torch.double)
        never = (visits == 0) & (expected > SURE * sample.copies) & real
        # some patches may be rare where whole clips have a middle and these an edge
        never &= torch.tensor(len(member) * int(padded.sum()) > MANY * sample.copies)
        never = never.view(sample.grid.freq, sample.grid.time)
        message = f"{_patches(never)} {sample.where} are never {name} in padded clips"
        assert not never.any(), message
        if not sample.masker.promises.uneven:
            visits = visits.view(sample.grid.freq, sample.grid.time)[:, : min(sample.columns)]
            where = f"{sample.where} are in padded clips"
            _check_even(visits, visits.mean(), sample.copies, where, name, PADDED_FACTOR)


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
        counts = member.sum(dim=2)
        error = (counts - counts.mean(dim=0)).square().mean().div(len(member)).sqrt()
        far |= (counts.mean(dim=0) - counts.mean()).abs() > ERRORS * error + 1 / len(member)
    assert not far.any(), (
        f"{sample.where} the {name} of sample {int(far.nonzero()[0])} of a batch are not "
        "distributed as those of others; draw all randomness from `generator`, for each sample"
    )


def _patches(marked: Tensor) -> str:
    """Lists the first patches marked in (freq, time)."""
    listed = [f"({row}, {column})" for row, column in marked.nonzero()[:3].tolist()]
    return f"{int(marked.sum())} patches, (freq, time) {', '.join(listed)} first,"
