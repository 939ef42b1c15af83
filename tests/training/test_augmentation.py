"""What is done to a batch before labels are learnt from it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import StepRandom, generator
from ablate.training.augmentation import (
    Exercise,
    Mixup,
    RegularisedMasking,
    SpecAugment,
    TokenDrop,
)

CLIPS, BANDS, FRAMES, PATCHES = 40, 12, 20, 15
RNG = StepRandom(seed=0, step=4)
EVERY = [RegularisedMasking(), TokenDrop(), SpecAugment(freq=4, time=6, times=2), Mixup()]


def exercise(clips: int = CLIPS) -> Exercise:
    rng = generator(0, "exercise", clips)
    mels = 5 + torch.randn(clips, BANDS, FRAMES, generator=rng)
    labels = torch.eye(3)[torch.arange(clips) % 3]
    member = torch.rand(clips, PATCHES, generator=rng) < 0.8
    member[:, 3] = True
    return Exercise(mels, labels, member)


@pytest.mark.parametrize("augmentation", EVERY)
def test_the_same_step_is_changed_alike_and_another_otherwise(augmentation):
    def changed(rng: StepRandom) -> list[torch.Tensor]:
        given = augmentation(exercise(), rng)
        barred = torch.zeros(0) if given.barred is None else given.barred
        return [given.mels, given.labels, given.member, barred]

    once = changed(RNG)
    assert all(map(torch.equal, once, changed(RNG)))
    for other in (StepRandom(seed=0, step=5), StepRandom(seed=1, step=4)):
        assert not all(map(torch.equal, once, changed(other)))


@given(st.floats(0, 0.99))
def test_a_share_of_what_is_shown_is_barred(rate):
    before = exercise()
    given = RegularisedMasking(rate=rate)(before, RNG)
    assert torch.equal(given.member, before.member)
    assert torch.equal(given.mels, before.mels)
    assert not (given.barred & ~before.member).any()
    share = given.barred.sum() / before.member.sum()
    assert abs(share - rate) < 0.1


@given(st.floats(0, 0.99))
def test_a_share_of_the_patches_is_dropped_but_never_all(rate):
    before = exercise()
    given = TokenDrop(rate=rate)(before, RNG)
    assert given.member.any(dim=1).all()
    assert not (given.member & ~before.member).any()
    kept = given.member.sum() / before.member.sum()
    assert abs(kept - max(1 - rate, 1 / PATCHES)) < 0.12


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2))
def test_stripes_are_whole_and_no_wider_than_told(freq, time, times):
    augmentation = SpecAugment(freq=freq, time=time, times=times)
    hidden = augmentation(exercise(6), RNG).mels == 0
    bands, frames = hidden.all(dim=2), hidden.all(dim=1)
    assert torch.equal(hidden, bands.unsqueeze(2) | frames.unsqueeze(1))
    assert bands.sum(dim=1).max() <= max(
        min(freq, BANDS) * times, BANDS * (min(time, FRAMES) == FRAMES)
    )
    if times == 1 and time < FRAMES:
        for row in bands.int():
            assert row.diff().clamp(min=0).sum() + row[0] <= 1  # one stripe


def test_a_stripe_reaches_every_band_and_every_width():
    found = SpecAugment(freq=BANDS, time=0)(exercise(4000), RNG).mels == 0
    bands = found.all(dim=2)
    assert set(bands.sum(dim=1).tolist()) == set(range(BANDS + 1))
    narrow = SpecAugment(freq=1, time=0)(exercise(4000), RNG).mels == 0
    assert narrow.all(dim=2).any(dim=0).all()


def test_mixing_mixes_sound_and_label_by_one_share():
    before = exercise()
    given = Mixup(strength=0.5)(before, RNG)
    assert torch.allclose(given.labels.sum(dim=1), torch.ones(CLIPS))
    partner = RNG.uniform(CLIPS, "mixup partner").argsort()
    assert sorted(partner.tolist()) == list(range(CLIPS))
    for clip in range(CLIPS):
        own, other = before.mels[clip], before.mels[partner[clip]]
        share = (
            torch.linalg.lstsq(
                (own - other).reshape(-1, 1), (given.mels[clip] - other).reshape(-1, 1)
            ).solution.item()
            if partner[clip] != clip
            else 1.0
        )
        expected = share * before.labels[clip] + (1 - share) * before.labels[partner[clip]]
        assert torch.allclose(given.mels[clip], share * own + (1 - share) * other, atol=1e-4)
        assert torch.allclose(given.labels[clip], expected, atol=1e-3)
        assert torch.equal(given.member[clip], before.member[clip] | before.member[partner[clip]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegularisedMasking(rate=1.0), "`rate` must lie in"),
        (lambda: TokenDrop(rate=-0.1), "`rate` must lie in"),
        (lambda: SpecAugment(freq=-1), "`freq` must not be negative"),
        (lambda: Mixup(strength=0), "`strength` must be above 0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
