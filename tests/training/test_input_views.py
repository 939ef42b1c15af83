"""Input views: levels, independence of batches, and what the target sees."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.training.input_scale import InputScale
from ablate.training.input_views import Gain, Mix, Reverberation, Sequence, StationaryNoise

BANDS, FRAMES, CLIPS = 8, 40, 6
MEL = InputScale(mean=torch.full((BANDS,), -4.0), std=torch.full((BANDS,), 2.5))
WAVE = InputScale(mean=torch.zeros(1), std=torch.ones(1))
VIEWS = [
    Mix(),
    Mix(how="max"),
    Mix(share=0.5, probability=0.5),
    StationaryNoise(),
    StationaryNoise(tilt=(0.0, 0.0), probability=0.5),
    Gain(),
    Reverberation(),
    Sequence(views=(Mix(), StationaryNoise(), Gain(decibels=(-1, 1)))),
]


def create_clips(scale=MEL):
    bands = len(scale.mean)
    mels = torch.randn(CLIPS, bands, FRAMES, generator=generator(0, "mels"))
    lengths = torch.tensor([40, 40, 25, 40, 10, 40])
    valid = torch.arange(FRAMES) < lengths.unsqueeze(1)
    return torch.where(valid.unsqueeze(1), mels, 0.0), valid


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_a_view_is_finite_drawn_from_its_seed_and_leaves_padding_and_input_alone(view):
    mels, valid = create_clips()
    before = mels.clone()
    one, same, other = (view(mels, valid, MEL, generator(seed, "v")) for seed in (0, 0, 1))
    assert one.dtype == torch.float32
    assert one.shape == mels.shape
    assert one.isfinite().all()
    assert torch.equal(mels, before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, mels)
    assert (one.transpose(1, 2)[~valid] == 0).all()


@pytest.mark.parametrize("scale", [MEL, WAVE], ids=["mel", "wave"])
@given(decibels=st.floats(-40, 40))
def test_a_gain_changes_the_power_by_its_decibels(scale, decibels):
    mels, valid = create_clips(scale)
    louder = Gain(decibels=(decibels, decibels))(mels, valid, scale, generator(0, "v"))
    ratio = scale.measure_power(scale.to_sound(louder), valid) / scale.measure_power(
        scale.to_sound(mels), valid
    )
    assert 10 * ratio.log10() == pytest.approx(torch.full_like(ratio, decibels), abs=1e-3)


@pytest.mark.parametrize("scale", [MEL, WAVE], ids=["mel", "wave"])
def test_noise_has_the_drawn_level(scale):
    mels, valid = create_clips(scale)
    noisy = StationaryNoise(snr=(6, 6))(mels, valid, scale, generator(0, "v"))
    added = scale.to_sound(noisy) - scale.to_sound(mels)
    ratio = scale.measure_power(scale.to_sound(mels), valid) / scale.measure_power(added, valid)
    assert 10 * ratio.log10() == pytest.approx(torch.full_like(ratio, 6.0), abs=0.01)


def test_a_mixture_adds_energies_of_another_clip_at_the_drawn_level():
    mels, valid = create_clips()
    valid = torch.ones_like(valid)
    mixed = Mix(snr=(3, 3))(mels, valid, MEL, generator(0, "v"))
    sound, total = MEL.to_sound(mels), MEL.to_sound(mixed)
    matches = []
    for shift in range(1, CLIPS):
        other = sound.roll(shift, dims=0)
        level = MEL.measure_power(sound, valid) / MEL.measure_power(other, valid) / 10**0.3
        matches.append(torch.allclose(total, sound + other * level, rtol=1e-4))
    assert sum(matches) == 1


def test_a_mixture_of_maxima_takes_the_greater_value_of_two_clips():
    mels, valid = create_clips()
    mixed = Mix(how="max")(mels, torch.ones_like(valid), MEL, generator(0, "v"))
    pairs = [torch.equal(mixed, torch.maximum(mels, mels.roll(n, dims=0))) for n in range(1, CLIPS)]
    assert sum(pairs) == 1


def test_a_mixture_changes_a_stretch_of_at_most_its_share():
    mels, valid = create_clips()
    view = Mix(share=0.25, probability=1.0)
    mixed = view(mels, torch.ones_like(valid), MEL, generator(0, "v"))
    changed = (mixed != mels).any(dim=1)
    assert (changed.sum(dim=1) <= FRAMES * 0.25).all()
    assert changed.any(dim=1).all()


def test_the_power_of_reverberation_falls_by_60_decibels_in_its_time():
    mels = torch.full((2, BANDS, 100), -40.0)
    mels[:, :, 0] = 2.0
    valid = torch.ones(2, 100, dtype=torch.bool)
    view = Reverberation(t60=(0.5, 0.5), level=(0, 0))
    sound = MEL.to_sound(view(mels, valid, MEL, generator(0, "v")))
    fall = 10 * (sound[..., 10] / sound[..., 60]).log10()
    assert fall == pytest.approx(torch.full_like(fall, 60.0), abs=0.1)
    late = sound[..., 1:].sum(dim=-1) / sound[..., 0]
    assert late == pytest.approx(torch.ones_like(late), abs=0.01)


def test_decibels_and_natural_logarithms_are_mixed_alike():
    mels, valid = create_clips()
    unit = 10 / math.log(10)
    decibels = dataclasses.replace(MEL, mean=MEL.mean * unit, std=MEL.std * unit, unit=unit)
    one, other = (Mix()(mels, valid, scale, generator(0, "v")) for scale in (MEL, decibels))
    assert torch.allclose(one, other, atol=1e-5)


def test_one_clip_alone_is_not_mixed():
    mels, valid = create_clips()
    assert torch.equal(Mix()(mels[:1], valid[:1], MEL, generator(0, "v")), mels[:1])


@pytest.mark.parametrize(
    ("view", "settings", "message"),
    [
        (Mix, {"share": 0.0}, "`share` must lie in"),
        (Mix, {"snr": (5, -5)}, "`snr` must lie in"),
        (StationaryNoise, {"probability": 2.0}, "`probability` must lie in"),
        (Reverberation, {"t60": (0.0, 1.0)}, "`t60` must be above 0"),
        (Sequence, {"views": ()}, "`views` must have at least one entry"),
    ],
)
def test_impossible_settings_are_errors(view, settings, message):
    with pytest.raises(ValueError, match=message):
        view(**settings)
