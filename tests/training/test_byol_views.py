"""Views of BYOL for Audio: mixtures in the exponential domain, and crops that are resized."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.training.input_scale import InputScale
from ablate.training.log_mixup import LogMixup
from ablate.training.resize_crop import ResizeCrop, draw_windows

BANDS, FRAMES, CLIPS = 9, 21, 6
LENGTHS = torch.tensor([21, 21, 13, 21, 1, 21])
MEL = InputScale(mean=torch.full((BANDS,), -4.0), std=torch.full((BANDS,), 2.5))
WAVE = InputScale(mean=torch.zeros(1), std=torch.ones(1))
WARP = {"canvas": (1.0, 1.0), "time_scale": (1.0, 1.0)}


def create_clips():
    mels = torch.randn(CLIPS, BANDS, FRAMES, generator=generator(0, "mels"))
    valid = torch.arange(FRAMES) < LENGTHS.unsqueeze(1)
    return torch.where(valid.unsqueeze(1), mels, 0.0), valid


def resize_one(mel, rows, columns, canvas):
    """Pastes one clip on a canvas, cuts a rectangle and resizes it, all by PyTorch."""
    bands, frames = mel.shape
    tall, wide = int(bands * canvas[0]), int(frames * canvas[1])
    top, left = (tall - bands) // 2, (wide - frames) // 2
    area = torch.zeros(tall, wide)
    area[top : top + bands, left : left + frames] = mel
    (start, height), (begin, width) = rows, columns
    crop = area[start + top : start + top + height, begin + left : begin + left + width]
    assert crop.shape == (height, width)
    resized = F.interpolate(crop[None, None], (bands, frames), mode="bicubic", align_corners=True)
    return resized[0, 0]


@given(
    canvas=st.tuples(st.sampled_from([1.0, 1.3, 2.0]), st.sampled_from([1.0, 1.5])),
    freq=st.tuples(st.floats(0.2, 0.9), st.floats(1.0, 2.0)),
    time=st.tuples(st.floats(0.2, 0.9), st.floats(1.0, 2.0)),
    seed=st.integers(0, 1000),
)
def test_a_crop_is_resized_as_by_pasting_cutting_and_interpolating_each_clip(
    canvas, freq, time, seed
):
    mels, valid = create_clips()
    resized = ResizeCrop(canvas=canvas, freq_scale=freq, time_scale=time)(
        mels, valid, MEL, generator(seed, "v")
    )
    rng = generator(seed, "v")
    rows = draw_windows(torch.full((CLIPS,), BANDS), canvas[0], freq, rng)
    columns = draw_windows(LENGTHS, canvas[1], time, rng)
    for clip, length in enumerate(LENGTHS.tolist()):
        places = [(int(w.start[clip]), int(w.size[clip])) for w in (rows, columns)]
        expected = resize_one(mels[clip, :, :length], *places, canvas)
        assert torch.allclose(resized[clip, :, :length], expected, atol=1e-4)
        assert (resized[clip, :, length:] == 0).all()


@given(
    canvas=st.floats(1, 2), low=st.floats(0.1, 1), high=st.floats(1, 3), length=st.integers(1, 50)
)
def test_windows_lie_on_the_canvas_and_have_every_size_of_their_range(canvas, low, high, length):
    lengths = torch.full((500,), length)
    windows = draw_windows(lengths, canvas, (low, high), generator(0, "w"))
    places = int(torch.tensor(length) * canvas)  # in single precision, as the windows
    before = (places - length) // 2
    assert int(windows.start.min()) >= -before
    assert int((windows.start + windows.size).max()) <= places - before
    assert int(windows.size.max()) <= max(1, min(places, int(high * length * (1 + 1e-6))))
    assert int(windows.size.min()) >= max(1, min(places, int(low * length * (1 - 1e-6))))


def test_a_crop_of_the_size_of_the_clip_leaves_it_unchanged():
    mels, valid = create_clips()
    same = ResizeCrop(freq_scale=(1.0, 1.0), **WARP)(mels, valid, MEL, generator(0, "v"))
    assert torch.equal(same, mels)


def test_a_warp_of_frequencies_keeps_every_frame_in_its_place():
    mels, valid = create_clips()
    mels[:, :, 10] = 0
    warped = ResizeCrop(**WARP)(mels, valid, MEL, generator(0, "v"))
    assert (warped[:, :, 10] == 0).all()
    assert not torch.equal(warped, mels)


def test_a_mixture_adds_a_share_of_another_clip_in_the_exponential_domain():
    mels, _ = create_clips()
    mixed = LogMixup(ratio=0.4)(
        mels, torch.ones(CLIPS, FRAMES, dtype=torch.bool), MEL, generator(1, "v")
    )
    powers, total = mels.exp(), mixed.exp()
    shares = []
    for clip in range(CLIPS):
        for other in range(CLIPS):
            share = (total[clip] - powers[clip]) / (powers[other] - powers[clip])
            if other != clip and share.std() < 1e-3:
                shares.append(float(share.median()))
    assert len(shares) == CLIPS
    assert min(shares) > 0
    assert 0.2 < max(shares) <= 0.4


def test_padding_is_not_mixed_in():
    mels, valid = create_clips()
    mixed = LogMixup()(mels, valid, MEL, generator(0, "v"))
    short = LENGTHS == 1
    assert (mixed[short][:, :, 1:] == 0).all()
    changed = (mixed != mels).any(dim=1).sum(dim=1)
    assert set(changed.tolist()) <= {1, 13, 21}
    assert {1, 21} <= set(changed.tolist())


@pytest.mark.parametrize("view", [LogMixup(), ResizeCrop()], ids=repr)
def test_a_waveform_is_an_error(view):
    sound, valid = torch.zeros(2, 1, 40), torch.ones(2, 40, dtype=torch.bool)
    with pytest.raises(ValueError, match="works on log-mels"):
        view(sound, valid, WAVE, generator(0, "v"))


def test_one_clip_alone_is_not_mixed_with_itself():
    mels, valid = create_clips()
    assert torch.equal(LogMixup()(mels[:1], valid[:1], MEL, generator(0, "v")), mels[:1])


@pytest.mark.parametrize(
    ("view", "settings", "message"),
    [
        (LogMixup, {"ratio": 1.5}, "`ratio` must lie in"),
        (ResizeCrop, {"canvas": (0.5, 1.0)}, "`canvas` must be at least 1"),
        (ResizeCrop, {"freq_scale": (1.5, 0.6)}, "`freq_scale` must lie in"),
    ],
)
def test_impossible_settings_are_errors(view, settings, message):
    with pytest.raises(ValueError, match=message):
        view(**settings)
