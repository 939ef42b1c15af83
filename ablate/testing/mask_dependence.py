"""Tests that a mask depends on no other sample of its batch, nor on how large the batch is."""

import dataclasses
import math

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.masking import AbstractMasker, Grid, Mask
from ablate.testing.cases import Case
from ablate.testing.mask_repeats import check_large_batch
from ablate.testing.mask_sample import MaskSample, create_clips, draw_case

ERRORS = 6.0  # standard errors that are allowed
# clips per batch, number of batches
BATCHES = (
    *((1, 48), (2, 24), (3, 24), (6, 10), (12, 6)),
    *((20, 4), (33, 3), (80, 2), (300, 1), (1100, 1)),
)
LARGE = 300  # clips from which masks of one batch are compared with each other
MIXED = 12  # batches of 32 clips of which every second one is padded
CONTENTS = 64  # masks that are drawn beside either of two contents


def check_independence(sample: MaskSample) -> None:
    """Tests that samples of a batch are related no more than those of two batches."""
    if sample.num_batches < 16 or sample.clips < 2:
        return
    for name, member in (("context", sample.context), ("targets", sample.target_union)):
        masks = member[:, sample.is_first].float()
        _check_resemblance(sample, masks, name)
        _check_counts(sample, masks.sum(dim=2).double(), name)


def _check_resemblance(sample: MaskSample, masks: Tensor, name: str) -> None:
    """Compares pairs of slots within a batch with the same pairs of two successive batches."""
    signs = 2 * masks - 1
    within = signs @ signs.transpose(1, 2)  # (batches, slots, slots)
    across = signs @ signs.roll(1, dims=0).transpose(1, 2)
    more = (within - across).double()
    error = more.std(dim=0) / math.sqrt(len(more)) + sample.grid.size * 1e-3
    score = (more.mean(dim=0) / error).abs()
    score.fill_diagonal_(0.0)
    assert score.max() < ERRORS + 2, (
        f"{sample.where} the {name} of samples {_name_pair(score)} of a batch are related; draw "
        "each sample by itself, or declare `coupled`"
    )


def _check_counts(sample: MaskSample, counts: Tensor, name: str) -> None:
    """Tests that counts do not vary together, in neighbouring slots or in the whole batch."""
    message = (
        f"{sample.where} the sizes of the {name} vary together within a batch; draw each sample by "
        "itself, or declare `coupled`"
    )
    centred = counts - counts.mean(dim=0)
    for part in (sample.is_unpadded[sample.is_first], ~sample.is_unpadded[sample.is_first]):
        spread = centred[:, part].square().mean()
        centred[:, part] /= spread.sqrt() if spread > 1e-9 else math.inf
    slots = counts.shape[1]
    for shift in (1, 2, slots // 2):
        if 0 < shift < slots:
            products = (centred[:, :-shift] * centred[:, shift:])[:, :: shift + 1]
            error = float(products.std()) / math.sqrt(products.numel())
            assert abs(float(products.mean())) < max((ERRORS + 1) * error, 0.1), message
    excess = centred.mean(dim=1).square().mean() * slots
    assert excess < 1 + 9 * math.sqrt(2 / len(counts)), message


def check_batches(masker: AbstractMasker, samples: list[MaskSample]) -> None:
    """Tests that masks do not depend on the size of the batch, nor on padding of other clips."""
    candidates = [s for s in samples if 64 <= s.grid.size <= 256 and s.progress == 0.5]
    if not candidates:
        return
    sample = candidates[0]
    grid, copies = sample.grid, sample.copies
    for clips, batches in BATCHES:
        clips = max(1, clips // (copies if clips > 3 else 1))
        masks = _draw_batches(masker, grid, (grid.time,) * clips, batches)
        where = f"in batches of {clips} whole clips"
        _compare(sample, masks, torch.ones(len(masks[0].context), dtype=torch.bool), where)
        if clips >= LARGE:
            check_large_batch(sample, masks[0].context, masks[0].targets)
    columns = (grid.time, min(sample.columns)) * (sample.clips // 2)
    masks = _draw_batches(masker, grid, columns, MIXED)
    unpadded = torch.tensor([count == grid.time for count in columns]).repeat_interleave(copies)
    for part in (unpadded, ~unpadded) if min(columns) < grid.time else ():
        _compare(sample, masks, part, "beside clips of other lengths")


def _draw_batches(
    masker: AbstractMasker, grid: Grid, columns: tuple[int, ...], batches: int
) -> list[Mask]:
    cases = [Case(grid, columns, 0.5, 10_000 + seed) for seed in range(batches)]
    masks = [mask for case in cases if (mask := draw_case(masker, case)) is not None]
    assert len(masks) == len(cases), f"{grid} is refused for batches of {len(columns)} clips only"
    return masks


def _compare(sample: MaskSample, masks: list[Mask], part: Tensor, where: str) -> None:
    """Compares a part of the slots of further batches, bool (slots,), with those of the sample.

    The part is of whole clips if the first slot, which is that of a whole clip, belongs to it.
    """
    like = sample.is_unpadded if part[0] else ~sample.is_unpadded
    for name, member, others in (
        ("context", sample.context, [mask.context[part] for mask in masks]),
        ("targets", sample.target_union, [mask.target_union[part] for mask in masks]),
    ):
        _compare_members(sample, member[:, like], torch.cat(others), f"the {name}", where)


def _compare_members(
    sample: MaskSample, reference: Tensor, others: Tensor, name: str, where: str
) -> None:
    one, other = reference.flatten(0, 1).double(), others.double()
    counts = one.sum(dim=1, keepdim=True), other.sum(dim=1, keepdim=True)
    remedy = "masks must not depend on the batch or on padding of other clips"
    assert not _differ(*counts, sample.copies), (
        f"{name} of {sample.grid} hold {counts[1].mean():.1f} instead of {counts[0].mean():.1f} "
        f"patches {where}; {remedy}"
    )
    assert not _differ(one, other, sample.copies), (
        f"{name} of {sample.grid} lie elsewhere {where}; {remedy}"
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


def check_content_of_others(masker: AbstractMasker, samples: list[MaskSample]) -> None:
    """Tests that a mask does not depend on the content of other clips."""
    candidates = [s for s in samples if 64 <= s.grid.size <= 256 and s.progress == 0.5]
    if masker.promises.needs is None or not candidates:
        return
    sample = candidates[0]
    base = create_clips(masker, Case(sample.grid, (sample.grid.time,) * 4, 0.5, 0))
    content = base.get_content(masker)
    noise = torch.rand(content[1:].shape, generator=generator(1, "content"))
    level = torch.randn(noise[..., :1].shape, generator=generator(1, "level"))
    drawn = []
    for sign in (1, -1):  # what is loud in one is quiet in the other, also relative to clip 1
        others = (3 * sign * level).exp() * noise + 1000 * (sign < 0)
        clips = dataclasses.replace(base, content=torch.cat([content[:1], others]))
        masks = [masker.draw(clips, generator(seed, "others")) for seed in range(CONTENTS)]
        drawn.append(
            [
                torch.cat([mask.context[: sample.copies] for mask in masks]).double(),
                torch.cat([mask.target_union[: sample.copies] for mask in masks]).double(),
            ]
        )
    for one, other in zip(*drawn, strict=True):
        counts = one.sum(dim=1, keepdim=True), other.sum(dim=1, keepdim=True)
        assert not _differ(*counts, sample.copies), _describe_content(sample)
        assert not _differ(one, other, sample.copies), _describe_content(sample)


def _describe_content(sample: MaskSample) -> str:
    return (
        f"{sample.where} a mask depends on the content of other clips; read that of its own clip, "
        "or declare `coupled`"
    )


def _name_pair(score: Tensor) -> str:
    place = int(score.argmax())
    return f"{place // len(score)} and {place % len(score)}"
