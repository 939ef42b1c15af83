"""`check_masker` finds faulty maskers of every kind."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from ablate.model.mask_sampling import choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, UnsupportedGridError
from ablate.testing import check_masker
from maskers import Bernoulli, MultiMask, Random, VarianceWeighted

CALLS = {"count": 0}
CACHE: dict[object, Mask] = {}


def create_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def move_target(mask, row, to_context):
    """Moves one patch of a sample between target and context, or leaves it out."""
    patch = int(mask.target_union[row].nonzero()[0])
    mask.targets[row, :, patch] = False
    mask.context[row, patch] = to_context


@dataclass(frozen=True, kw_only=True)
class FaultyMasker(AbstractMasker):
    """A valid masker with one fault."""

    fault: str
    inner: AbstractMasker = field(default_factory=lambda: Random(ratio=(0.5, 0.7)))

    @property
    def promises(self) -> Promises:
        changes = {
            "needs nothing of its content": {"needs": "patches"},
            "draws without content": {"needs": "patches"},
            "reads content that is missing": {"needs": "patches"},
            "copies are equal": {"copies": 2},
        }
        return replace(self.inner.promises, **changes.get(self.fault, {}))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        return FAULTS[self.fault](self.inner, clips, generator)


def draw_rarely(every, change):
    """Returns a `draw` that changes one of `every` samples, at random."""

    def draw(inner, clips, generator):
        mask = inner.draw(clips, generator)
        for row in (torch.rand(clips.batch, generator=generator) < 1 / every).nonzero()[:, 0]:
            change(mask, clips, int(row))
        return mask

    return draw


def ignore_generator(inner, clips, generator):
    return inner.draw(clips, create_generator())


def seed_by_progress(inner, clips, generator):
    return inner.draw(clips, create_generator(round(1e6 * clips.progress)))


def cache_first_mask(inner, clips, generator):
    key = (clips.grid, clips.batch, clips.progress)
    if key not in CACHE or not torch.equal(CACHE[key].context & ~clips.valid, ~clips.valid & False):
        CACHE[key] = inner.draw(clips, generator)
    return CACHE[key]


def ignore_generator_in_half(inner, clips, generator):
    mask, fixed = inner.draw(clips, generator), inner.draw(clips, create_generator())
    half = torch.arange(clips.batch) % 2 == 0
    return Mask(
        torch.where(half[:, None], mask.context, fixed.context),
        torch.where(half[:, None, None], mask.targets, fixed.targets),
    )


def ignore_generator_for_places(inner, clips, generator):
    """Draws the number of visible patches at random, but not their positions."""
    mask, count = (
        inner.draw(clips, create_generator()),
        1 + torch.randint(2, (clips.batch, 1), generator=generator),
    )
    kept = mask.context & (mask.context.cumsum(dim=1) >= count)
    return Mask(torch.where(kept.any(dim=1, keepdim=True), kept, mask.context), mask.targets)


def keep_state(inner, clips, generator):
    CALLS["count"] += 1
    for _ in range(CALLS["count"] // 40):
        torch.rand(1, generator=generator)
    return inner.draw(clips, generator)


def fail_rarely(inner, clips, generator):
    CALLS["count"] += 1
    mask = inner.draw(clips, generator)
    if CALLS["count"] % 397 == 0:
        mask.context[0] = False
    return mask


def share_in_pairs(inner, clips, generator):
    mask = inner.draw(clips, generator)
    for row in range(0, clips.batch - 1, 2):
        if torch.equal(clips.valid[row], clips.valid[row + 1]):
            mask.context[row + 1], mask.targets[row + 1] = mask.context[row], mask.targets[row]
    return mask


def repeat_first_sample(inner, clips, generator):
    mask, fixed = inner.draw(clips, generator), inner.draw(clips, create_generator())
    mask.context[0], mask.targets[0] = fixed.context[0], fixed.targets[0]
    return mask


def share_sizes(inner, clips, generator):
    return Random(ratio=(0.5, 0.7), per="batch").draw(clips, generator)


def draw_few_masks(inner, clips, generator):
    few = inner.draw(clips, generator)
    which = torch.randint(min(4, clips.batch), (clips.batch,), generator=generator)
    same = (clips.valid[which] == clips.valid).all(dim=1)
    which = torch.where(same, which, torch.arange(clips.batch))
    return Mask(few.context[which], few.targets[which])


def depend_on_shortest(inner, clips, generator):
    shortest = clips.num_valid.min() / clips.grid.size
    return Random(ratio=0.5 if shortest < 0.9 else 0.7).draw(clips, generator)


def depend_on_batch(inner, clips, generator):
    return Random(ratio=0.5 if clips.batch > 100 else 0.7).draw(clips, generator)


def depend_on_middle_batches(inner, clips, generator):
    return Random(ratio=0.95 if 20 < clips.batch < 60 else 0.6).draw(clips, generator)


def without_column(when):
    """Never makes the last valid column a target, when a condition on the clips holds."""

    def draw(inner, clips, generator):
        mask = inner.draw(clips, generator)
        last = clips.num_columns - 1
        column = torch.arange(clips.grid.size) % clips.grid.time
        moved = (column == last.unsqueeze(1)) & when(clips).unsqueeze(1) & mask.target_union
        moved &= (mask.target_union & ~moved).any(dim=1, keepdim=True)
        return Mask(mask.context, mask.targets & ~moved.unsqueeze(1))

    return draw


def fix_padded_context(inner, clips, generator):
    mask, fixed = inner.draw(clips, generator), inner.draw(clips, create_generator())
    padded = ~clips.valid.all(dim=1)
    return Mask(
        torch.where(padded[:, None], fixed.context, mask.context),
        torch.where(padded[:, None, None], fixed.targets, mask.targets),
    )


def change_valid(inner, clips, generator):
    mask = inner.draw(clips, generator)
    clips.valid.logical_and_(~mask.context)
    return mask


def change_content(inner, clips, generator):
    mask = inner.draw(clips, generator)
    clips.content.mul_(0.5)
    return mask


def give_float_fallback(inner, clips, generator):
    mask = inner.draw(clips, generator)
    return Mask(mask.context, mask.targets, torch.zeros(clips.batch))


def give_short_fallback(inner, clips, generator):
    mask = inner.draw(clips, generator)
    return Mask(mask.context, mask.targets, torch.zeros(clips.batch + 1, dtype=torch.bool))


def refuse_every_grid(inner, clips, generator):
    raise UnsupportedGridError(f"{clips.grid} is not supported; use another grid")


def draw_from_few_numbers(inner, clips, generator):
    seed = int(torch.randint(4096, (1,), generator=generator))
    return inner.draw(clips, create_generator(seed))


def use_first_seed(inner, clips, generator):
    return inner.draw(clips, create_generator(generator.initial_seed()))


def draw_by_scores(clips, scores):
    """Shows four tenths of the patches, those of the lowest scores."""
    context = choose_lowest(round_share(clips.num_valid, 0.4), scores, among=clips.valid)
    return Mask(context, (clips.valid & ~context).unsqueeze(1))


def share_in_halves(inner, clips, generator):
    scores = torch.rand((clips.batch + 1) // 2, clips.grid.size, generator=generator)
    return draw_by_scores(clips, scores.repeat(2, 1)[: clips.batch])


def contrast_pairs(inner, clips, generator):
    scores = torch.rand(clips.valid.shape, generator=generator)
    odd = scores[1::2]
    odd.copy_(1 - scores[::2][: len(odd)])
    return draw_by_scores(clips, scores)


def share_rarely(inner, clips, generator):
    scores = torch.rand(clips.valid.shape, generator=generator)
    rare = torch.rand((), generator=generator) < 0.03
    return draw_by_scores(clips, scores[:1].expand_as(scores) if rare else scores)


def see_padding_of_next(inner, clips, generator):
    scores = torch.rand(clips.valid.shape, generator=generator)
    column = torch.arange(clips.grid.size) % clips.grid.time / clips.grid.time
    beside = (clips.num_valid.roll(-1) < clips.grid.size).unsqueeze(1)
    return draw_by_scores(clips, scores + beside * column)


def share_in_large_grids(inner, clips, generator):
    scores = torch.rand(clips.valid.shape, generator=generator)
    return draw_by_scores(clips, scores[:1].expand_as(scores) if clips.grid.size > 1024 else scores)


def read_content_of_next(inner, clips, generator):
    content = clips.get_content(inner).roll(-1, dims=0)
    return inner.draw(replace(clips, content=content), generator)


def skip_last_row(inner, clips, generator):
    """Never makes the last of more than 14 rows a target."""
    mask, grid = inner.draw(clips, generator), clips.grid
    last = torch.arange(grid.size) // grid.time == grid.freq - 1
    return Mask(mask.context, mask.targets & ~(last & (grid.freq > 14 and grid.time > 1)))


def refuse_padding(inner, clips, generator):
    if not clips.valid.all():
        raise UnsupportedGridError(f"{clips.grid} with padding is not served")
    return inner.draw(clips, generator)


def repeat_blocks(inner, clips, generator):
    mask = inner.draw(clips, generator)
    return Mask(mask.context, mask.targets.expand(-1, 3, -1))


def repeat_copies(inner, clips, generator):
    mask = inner.draw(clips, generator)
    return Mask(mask.context.repeat_interleave(2, 0), mask.targets.repeat_interleave(2, 0))


def use_numpy(inner, clips, generator):
    import numpy as np

    np.random.rand()
    return inner.draw(clips, generator)


def ignore_content(inner, clips, generator):
    clips.get_content(FaultyMasker(fault="needs nothing of its content"))
    return inner.draw(clips, generator)


def clear_targets(mask, clips, row):
    mask.targets[row] = False


def clear_context(mask, clips, row):
    mask.context[row] = False


def leak_context(mask, clips, row):
    mask.targets[row, 0] |= mask.context[row]


def choose_padding(mask, clips, row):
    if not clips.valid[row].all():
        mask.targets[row, 0, -1] = True


def read_missing_content(inner, clips, generator):
    loudness = clips.content.mean(dim=-1)
    context = choose_lowest(round_share(clips.num_valid, 0.5), loudness, among=clips.valid)
    return Mask(context, (clips.valid & ~context).unsqueeze(1))


FAULTS = {
    # the generator
    "ignores the generator": ignore_generator,
    "is seeded by progress": seed_by_progress,
    "keeps its first mask": cache_first_mask,
    "ignores the generator in half of the samples": ignore_generator_in_half,
    "ignores the generator for places": ignore_generator_for_places,
    "uses numpy": use_numpy,
    # state between calls
    "keeps state": keep_state,
    "fails in one of many calls": fail_rarely,
    # rare faults
    "no target, rarely": draw_rarely(800, clear_targets),
    "no context, rarely": draw_rarely(800, clear_context),
    "leaks the context, rarely": draw_rarely(800, leak_context),
    "chooses padding, rarely": draw_rarely(400, choose_padding),
    # other samples
    "samples in pairs": share_in_pairs,
    "first sample constant": repeat_first_sample,
    "sizes of a batch are shared": share_sizes,
    "four masks per batch": draw_few_masks,
    "depends on the shortest clip": depend_on_shortest,
    "depends on the batch size": depend_on_batch,
    "wrong in batches of middle size": depend_on_middle_batches,
    "numbers from 4,096 seeds": draw_from_few_numbers,
    "reads the first seed of the generator": use_first_seed,
    "both halves of a batch are alike": share_in_halves,
    "every second sample is the contrary of the one before": contrast_pairs,
    "one mask for a batch, rarely": share_rarely,
    "depends on padding of the next clip": see_padding_of_next,
    "one mask per batch on large grids": share_in_large_grids,
    "depends on the `content` of the next clip": read_content_of_next,
    "refuses padded clips": refuse_padding,
    # bias
    "last row of tall grids": skip_last_row,
    "last of many columns": without_column(
        lambda clips: torch.full((clips.batch,), clips.grid.time > 64)
    ),
    "last column, late": without_column(
        lambda clips: torch.full((clips.batch,), clips.progress > 0.75)
    ),
    "last column of padded clips": without_column(lambda clips: ~clips.valid.all(dim=1)),
    "fixed masks of padded clips": fix_padded_context,
    # inputs and outputs
    "changes `valid`": change_valid,
    "changes `content`": change_content,
    "fallback of floats": give_float_fallback,
    "fallback of another length": give_short_fallback,
    "refuses every grid": refuse_every_grid,
    "blocks are equal": repeat_blocks,
    "copies are equal": repeat_copies,
    "needs nothing of its content": ignore_content,
    "draws without content": lambda inner, clips, generator: inner.draw(clips, generator),
    "reads content that is missing": read_missing_content,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_masker_finds_the_fault(fault):
    CALLS["count"] = 0
    CACHE.clear()
    inner = VarianceWeighted() if "`content`" in fault else Random(ratio=(0.5, 0.7))
    with pytest.raises(AssertionError):
        check_masker(FaultyMasker(fault=fault, inner=inner), max_examples=20)


@pytest.mark.parametrize(
    "masker",
    [
        Random(ratio=0.995),
        Bernoulli(ratio=0.97),
        Random(ratio=0.005),
        MultiMask(maskers=(Random(ratio=0.98),), times=3),
    ],
    ids=repr,
)
def test_check_masker_accepts_valid_maskers_with_extreme_ratios(masker):
    check_masker(masker)
