"""Augmentations: deterministic per step, shapes kept, shares as configured."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import StepRandom, generator
from ablate.training.augmentation import (
    LabelledBatch,
    Mixup,
    RegularisedMasking,
    SpecAugmentation,
    TokenDrop,
)

CLIPS, BANDS, FRAMES, PATCHES = 40, 12, 20, 15
RNG = StepRandom(seed=0, step=4)
EVERY = [RegularisedMasking(), TokenDrop(), SpecAugmentation(freq=4, time=6, times=2), Mixup()]


def build_batch(clips: int = CLIPS) -> LabelledBatch:
    rng = generator(0, "exercise", clips)
    mels = 5 + torch.randn(clips, BANDS, FRAMES, generator=rng)
    labels = torch.eye(3)[torch.arange(clips) % 3]
    visible = torch.rand(clips, PATCHES, generator=rng) < 0.8
    visible[:, 3] = True
    return LabelledBatch(mels, labels, visible)


@pytest.mark.parametrize("augmentation", EVERY)
def test_equal_steps_give_equal_batches_and_other_steps_others(augmentation):
    def apply(rng: StepRandom) -> list[torch.Tensor]:
        result = augmentation(build_batch(), rng)
        blocked = torch.zeros(0) if result.exclude_self is None else result.exclude_self
        return [result.mels, result.labels, result.visible, blocked]

    first = apply(RNG)
    assert all(map(torch.equal, first, apply(RNG)))
    for other in (StepRandom(seed=0, step=5), StepRandom(seed=1, step=4)):
        assert not all(map(torch.equal, first, apply(other)))


@given(st.floats(0, 0.99))
def test_a_share_of_the_visible_tokens_may_not_attend_to_itself(rate):
    before = build_batch()
    result = RegularisedMasking(rate=rate)(before, RNG)
    assert torch.equal(result.visible, before.visible)
    assert torch.equal(result.mels, before.mels)
    assert not (result.exclude_self & ~before.visible).any()
    share = result.exclude_self.sum() / before.visible.sum()
    assert abs(share - rate) < 0.1


@given(st.floats(0, 0.99))
def test_a_share_of_the_patches_is_dropped_but_never_all(rate):
    before = build_batch()
    result = TokenDrop(rate=rate)(before, RNG)
    assert result.visible.any(dim=1).all()
    assert not (result.visible & ~before.visible).any()
    kept = result.visible.sum() / before.visible.sum()
    assert abs(kept - max(1 - rate, 1 / PATCHES)) < 0.12


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2))
def test_stripes_are_contiguous_and_within_the_maximum_width(freq, time, times):
    augmentation = SpecAugmentation(freq=freq, time=time, times=times)
    hidden = augmentation(build_batch(6), RNG).mels == 0
    bands, frames = hidden.all(dim=2), hidden.all(dim=1)
    assert torch.equal(hidden, bands.unsqueeze(2) | frames.unsqueeze(1))
    assert bands.sum(dim=1).max() <= max(
        min(freq, BANDS) * times, BANDS * (min(time, FRAMES) == FRAMES)
    )
    if times == 1 and time < FRAMES:
        for row in bands.int():
            assert row.diff().clamp(min=0).sum() + row[0] <= 1  # one stripe


def test_stripes_take_every_band_and_every_width():
    hidden = SpecAugmentation(freq=BANDS, time=0)(build_batch(4000), RNG).mels == 0
    bands = hidden.all(dim=2)
    assert set(bands.sum(dim=1).tolist()) == set(range(BANDS + 1))
    narrow = SpecAugmentation(freq=1, time=0)(build_batch(4000), RNG).mels == 0
    assert narrow.all(dim=2).any(dim=0).all()


def test_mixup_mixes_clip_and_labels_with_the_same_share():
    before = build_batch()
    result = Mixup(strength=0.5)(before, RNG)
    assert torch.allclose(result.labels.sum(dim=1), torch.ones(CLIPS))
    partner = RNG.uniform(CLIPS, "mixup partner").argsort()
    assert sorted(partner.tolist()) == list(range(CLIPS))
    for clip in range(CLIPS):
        own, other = before.mels[clip], before.mels[partner[clip]]
        share = (
            torch.linalg.lstsq(
                (own - other).reshape(-1, 1), (result.mels[clip] - other).reshape(-1, 1)
            ).solution.item()
            if partner[clip] != clip
            else 1.0
        )
        expected = share * before.labels[clip] + (1 - share) * before.labels[partner[clip]]
        assert torch.allclose(result.mels[clip], share * own + (1 - share) * other, atol=1e-4)
        assert torch.allclose(result.labels[clip], expected, atol=1e-3)
        assert torch.equal(
            result.visible[clip], before.visible[clip] | before.visible[partner[clip]]
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegularisedMasking(rate=1.0), "`rate` must lie in"),
        (lambda: TokenDrop(rate=-0.1), "`rate` must lie in"),
        (lambda: SpecAugmentation(freq=-1), "`freq` must not be negative"),
        (lambda: Mixup(strength=0), "`strength` must be above 0"),
    ],
)
def test_invalid_settings_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()
