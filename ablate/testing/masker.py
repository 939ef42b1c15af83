"""Tests that a masker keeps the promises of its contract."""

import dataclasses

import torch
from hypothesis import given, note
from hypothesis.errors import Flaky
from torch import Tensor

from ablate.core.random import generator
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Grid, Mask, UnsupportedGridError
from ablate.testing.cases import NAMED_GRIDS, Case, cases, forbid_global_generators, get_profile
from ablate.testing.mask_dependence import (
    check_batches,
    check_content_of_others,
    check_independence,
)
from ablate.testing.mask_repeats import (
    check_copies,
    check_generator,
    check_repeats,
    check_seeds,
)
from ablate.testing.mask_sample import (
    MaskSample,
    check_refusal,
    create_clips,
    draw_sample,
    draw_unchanged,
)
from ablate.testing.mask_statistics import check_slots, check_visits

# wide, tall and long grids, and the largest; the share of the batches that is drawn on each
FURTHER_GRIDS = ((Grid(4, 200), 4), (Grid(16, 24), 4), (Grid(1, 250), 4), (Grid(16, 256), 16))
CHANGE_GRIDS = NAMED_GRIDS[2:3] + NAMED_GRIDS[4:5]  # on which other moments are tried
MOMENTS = ((0.0, 2), (0.25, 4), (0.75, 4), (1.0, 2))  # progress, share of the batches
CLIPS = 32  # per batch in which masks are counted


def check_masker(masker: AbstractMasker, *, max_examples: int = 50, draws: int = 3072) -> None:
    """Tests a masker against every promise of `AbstractMasker`, on grids of 2 to 4096 patches.

    Every mask that is drawn is checked. Statistical tests allow for six standard errors or more,
    and always draw the same masks.

    Args:
        masker: The masker. If it needs content, it gets random numbers, 8 per patch.
        max_examples: Number of inputs to draw with Hypothesis.
        draws: Number of masks per grid of `NAMED_GRIDS` in which the visits of patches are counted.

    Raises:
        AssertionError: For the first broken promise, with the smallest input that breaks it.

    Example:
        >>> import ablate
        >>> import maskers
        >>> ablate.check_masker(maskers.Random(ratio=0.6), max_examples=5, draws=256)
    """
    _check_needs(masker)
    served: list[Case] = []

    @get_profile(max_examples)
    @given(case=cases())
    def keeps_its_promises(case: Case) -> None:
        note(f"masker: {masker}")
        try:
            with forbid_global_generators():
                mask = _draw_unchanged(masker, case)
        except UnsupportedGridError as refusal:
            if not str(refusal):
                raise AssertionError(f"{case.grid} is refused without a reason") from refusal
            check_refusal(masker, case.grid)
            return
        check_mask(masker, mask, case.grid, case.valid)
        _check_equal(mask, _draw(masker, case))
        served.append(case)

    try:
        keeps_its_promises()
    except Flaky as error:  # a promise was broken once, but not when tried again
        message = "one seed gave two different masks; use no randomness but `generator`"
        raise AssertionError(message) from error
    samples = _draw_samples(masker, draws)
    assert served or samples, "every grid is refused; a masker must work on some"
    for sample in samples:
        check_seeds(sample)
        check_slots(sample)
        check_visits(sample)
        check_copies(sample)
        if not masker.promises.coupled:
            check_repeats(sample)
            check_independence(sample)
    check_generator(masker, samples)
    if not masker.promises.coupled:
        check_batches(masker, samples)
        check_content_of_others(masker, samples)
    for sample in samples[:1]:
        _check_state(masker, sample)


def _check_state(masker: AbstractMasker, sample: MaskSample) -> None:
    """Tests that the masks of a sample are the same if they are drawn in another order."""
    settings = sample.grid, sample.progress, sample.num_batches, sample.clips
    again = draw_sample(masker, *settings, backwards=True)
    assert again is not None, "a grid was served once and then refused"
    _check_equal(Mask(sample.context, sample.targets), Mask(again.context, again.targets))


def _draw_samples(masker: AbstractMasker, draws: int) -> list[MaskSample]:
    """Draws masks on the named grids mid-training, and on a few at the first and last step."""
    clips = max(4, CLIPS // masker.promises.copies)
    batches = max(4, draws // (clips * masker.promises.copies))
    plans = [(grid, 0.5, batches) for grid in NAMED_GRIDS]
    plans += [(grid, 0.5, max(4, batches // share)) for grid, share in FURTHER_GRIDS]
    plans += [
        (grid, progress, max(4, batches // share))
        for grid in CHANGE_GRIDS
        for progress, share in MOMENTS
    ]
    with forbid_global_generators():
        samples = [
            draw_sample(masker, grid, progress, count, clips) for grid, progress, count in plans
        ]
    return [sample for sample in samples if sample is not None]


def _check_needs(masker: AbstractMasker) -> None:
    """Tests that needed content is required, and has an effect."""
    if masker.promises.needs is None:
        return
    served = False
    for grid in NAMED_GRIDS:
        case = Case(grid, (grid.time,) * 32, 0.5, 0)
        try:
            masks = [_draw(masker, case, content) for content in _draw_contents(case)]
        except UnsupportedGridError:
            continue
        served = True
        if any(not torch.equal(masks[0].context, mask.context) for mask in masks[1:]):
            break
        if any(not torch.equal(masks[0].targets, mask.targets) for mask in masks[1:]):
            break
    else:
        assert not served, "`promises.needs` is declared, but `clips.content` changes no mask"
    try:
        masker.draw(case.clips, generator(0, "mask"))
    except (ValueError, UnsupportedGridError):
        return
    except (AttributeError, TypeError) as error:  # it reads `None`
        cause: Exception | None = error
    else:
        cause = None
    raise AssertionError(
        "`promises.needs` is declared, but without `clips.content` draw "
        f"{f'fails with {type(cause).__name__}' if cause else 'gives masks'}; read it by "
        "`clips.get_content(self)`, which raises an error that names the masker"
    ) from cause


def _draw_contents(case: Case) -> list[Tensor]:
    """Draws contents of the same shape: even, and of levels that differ more and more."""
    shape = (len(case.columns), case.grid.size, 8)
    normal = torch.randn(shape, generator=generator(case.seed, "content"))
    level = torch.randn((*shape[:2], 1), generator=generator(case.seed, "level"))
    return [normal, normal + 10 * level, 1000 * level.exp() * normal + 1000 * level]


def _draw(masker: AbstractMasker, case: Case, content: Tensor | None = None) -> Mask:
    clips = create_clips(masker, case)
    if content is not None:
        clips = dataclasses.replace(clips, content=content)
    return masker.draw(clips, generator(case.seed, "mask"))


def _draw_unchanged(masker: AbstractMasker, case: Case) -> Mask:
    """Draws a mask and asserts that its inputs were not changed in place."""
    return draw_unchanged(masker, create_clips(masker, case), generator(case.seed, "mask"))


def _check_equal(mask: Mask, again: Mask) -> None:
    assert torch.equal(mask.context, again.context), "one seed gave two contexts"
    assert torch.equal(mask.targets, again.targets), "one seed gave two sets of targets"
