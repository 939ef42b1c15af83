"""Combinators change the masks of their inner maskers as declared."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given

from ablate.core.random import generator
from ablate.model.mask_sampling import cut_to_smallest
from ablate.model.masking import Clips, Grid
from ablate.testing import Case, cases
from maskers import (
    Bernoulli,
    DeadZone,
    EqualCounts,
    Guard,
    LegacyMultiBlock,
    Mixture,
    MultiBlock,
    MultiMask,
    Random,
    Subsample,
    Tube,
)

GRID = Grid(4, 8)


def draw(masker, batch=200, grid=GRID, seed=0, **fields):
    return masker.draw(replace(Clips.unpadded(grid, batch), **fields), generator(seed, "x"))


def test_a_mixture_draws_from_each_masker_in_proportion_to_its_weight():
    mixture = Mixture(maskers=(Random(ratio=0.25), Random(ratio=0.75)), weights=(3, 1))
    visible = draw(mixture, 4000).context.sum(dim=1)
    assert (visible == 24).float().mean() == pytest.approx(0.75, abs=0.03)
    assert set(visible.tolist()) == {24, 8}


def test_the_masks_of_one_clip_are_adjacent_in_the_batch():
    several = MultiMask(maskers=(Random(ratio=0.25), Random(ratio=0.75)), times=2)
    assert several.promises.copies == 4
    mask = draw(several, 3)
    assert mask.context.sum(dim=1).tolist() == [24, 8, 24, 8] * 3
    assert not torch.equal(mask.context[0], mask.context[2])


def test_the_masks_of_one_clip_leave_out_its_padding():
    valid = (torch.arange(8) < torch.tensor([[8], [3]])).repeat(1, 4)
    mask = draw(MultiMask(maskers=(MultiBlock(),), times=3), 2, valid=valid)
    chosen = mask.context | mask.target_union
    assert not (chosen & ~valid.repeat_interleave(3, dim=0)).any()


@given(cases(max_freq=4, max_time=16))
def test_a_subsample_predicts_its_share_of_the_hidden_patches_and_keeps_the_context(case: Case):
    inner = Random(ratio=0.6)
    fields = {"progress": case.progress, "valid": case.valid}
    complete = draw(inner, len(case.columns), case.grid, case.seed, **fields)
    subsample = draw(
        Subsample(masker=inner, share=0.5), len(case.columns), case.grid, case.seed, **fields
    )
    assert torch.equal(complete.context, subsample.context)
    assert not (subsample.target_union & ~complete.target_union).any()
    expected = (complete.target_union.sum(dim=1) * 0.5).round().clamp(min=1)
    assert torch.equal(subsample.target_union.sum(dim=1).float(), expected)


@pytest.mark.parametrize(("freq", "time"), [(0, 1), (1, 0), (1, 2)])
def test_a_dead_zone_separates_context_and_targets_except_in_fallbacks(freq, time):
    mask = draw(DeadZone(masker=MultiBlock(num_targets=2), freq=freq, time=time), grid=Grid(8, 16))
    context = mask.context.view(-1, 8, 16)
    targets = mask.target_union.view(-1, 8, 16)
    for sample in (~mask.fallback).nonzero().flatten()[:40].tolist():
        for row, column in targets[sample].nonzero().tolist():
            rows = slice(max(0, row - freq), row + freq + 1)
            columns = slice(max(0, column - time), column + time + 1)
            assert not context[sample, rows, columns].any()


def test_a_dead_zone_that_would_empty_the_context_keeps_it_as_a_fallback():
    mask = draw(DeadZone(masker=Random(ratio=0.6), freq=4, time=8))
    assert mask.fallback.all()
    assert mask.context.any(dim=1).all()


def test_a_guard_replaces_only_masks_that_show_too_little_as_fallbacks():
    inner = Random(ratio=(0.1, 0.99))
    bare, guarded = draw(inner), draw(Guard(masker=inner, min_context=0.25))
    poor = bare.context.sum(dim=1) < 8
    assert 0 < poor.sum() < len(poor)
    assert torch.equal(guarded.fallback, poor)
    assert torch.equal(guarded.context[~poor], bare.context[~poor])
    assert (guarded.context[poor].sum(dim=1) == 8).all()


def test_combinators_declare_the_bias_of_their_inner_maskers():
    inner = MultiBlock()
    for outer in (
        Mixture(maskers=(Random(), inner), weights=(1, 1)),
        MultiMask(maskers=(inner,)),
        Subsample(masker=inner),
        DeadZone(masker=inner),
        Guard(masker=inner),
    ):
        assert outer.promises.uneven == inner.promises.uneven


def test_a_mixture_of_one_exact_share_is_exact():
    half = Random(ratio=0.5)
    assert Mixture(maskers=(half, half), weights=(1, 1)).promises.exact
    assert not Mixture(maskers=(half, Random(ratio=0.4)), weights=(1, 1)).promises.exact


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Mixture(maskers=(Random(),), weights=(1, 2)), "1 maskers and 2 weights"),
        (lambda: Mixture(maskers=(Random(),), weights=(-1,)), "must be positive"),
        (lambda: MultiMask(maskers=()), "must have at least one entry"),
        (lambda: MultiMask(maskers=(MultiMask(maskers=(Random(),), times=2),)), "raise `times`"),
        (
            lambda: Mixture(
                maskers=(Random(), MultiMask(maskers=(Random(),), times=2)), weights=(1, 1)
            ),
            r"draw \[1, 2\] masks per clip",
        ),
        (lambda: Subsample(masker=Random(), share=1.5), "`share` must lie in"),
        (lambda: DeadZone(masker=Random(), time=-1), "`freq` and `time` must not be negative"),
        (
            lambda: DeadZone(masker=LegacyMultiBlock()),
            "may overlap, which a dead zone cannot prevent",
        ),
        (lambda: Guard(masker=Random(), min_context=2.0), "`min_context` must lie in"),
    ],
)
def test_invalid_combinations_are_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("surplus", ["drop_last", "drop_random", "show_random"])
def test_equal_counts_equal_a_plain_loop_over_devices(surplus):
    grid, inner = Grid(4, 8), MultiMask(maskers=(Bernoulli(), Tube()))
    clips = Clips.unpadded(grid, batch=7)
    cut = EqualCounts(masker=inner, clips=3, surplus=surplus)
    mask = cut.draw(clips, generator(0, "m"))
    rng = generator(0, "m")
    for start, size in ((0, 3), (3, 3), (6, 1)):
        drawn = inner.draw(Clips.unpadded(grid, batch=size), rng)
        for copy in range(2):
            rows = [2 * clip + copy for clip in range(size)]
            least_context = min(int(drawn.context[row].sum()) for row in rows)
            least_targets = min(int(drawn.target_union[row].sum()) for row in rows)
            if surplus == "drop_random":
                choose_like_the_masker(drawn, rows, rng)
            if surplus == "show_random":
                cut_to_smallest(drawn.target_union[rows], rng)
            for row in rows:
                context, targets = mask.context[2 * start + row], mask.target_union[2 * start + row]
                assert int(targets.sum()) == least_targets
                assert not (targets & ~drawn.target_union[row]).any()
                if surplus == "show_random":
                    assert torch.equal(context, ~targets)
                    continue
                assert int(context.sum()) == least_context
                assert not (context & ~drawn.context[row]).any()
                if surplus == "drop_last":
                    first = drawn.context[row].nonzero()[:least_context].squeeze(1)
                    assert torch.equal(context.nonzero().squeeze(1), first)


def choose_like_the_masker(drawn, rows, rng):
    """Draws as many random numbers as cutting does, so that the next device draws the same."""
    cut_to_smallest(drawn.context[rows], rng)
    cut_to_smallest(drawn.targets[rows], rng)


def test_sizes_that_a_batch_shares_are_drawn_for_each_device():
    inner = Random(ratio=(0.1, 0.9), per="batch")
    cut = EqualCounts(masker=inner, clips=2)
    counts = cut.draw(Clips.unpadded(Grid(8, 8), 8), generator(0, "m")).context.sum(dim=1)
    assert (counts[::2] == counts[1::2]).all()
    assert len(counts.unique()) > 1
