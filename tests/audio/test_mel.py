"""Front ends are finite for any input, have one frame per hop, and agree with a slow transform."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.mel import KaldiFbank, LogMel
from ablate.audio.torchaudio_import import kaldi, torchaudio
from ablate.parts import build, resolve

FRONT_ENDS = [
    LogMel(),
    KaldiFbank(),
    LogMel(window_ms=32, f_min=0, floor=1e-10, top_db=120.0),  # Dasheng
    LogMel(bands=80, fft_size=400, filters="slaney", floor=1.2e-7),  # M2D
    KaldiFbank(level="peak"),  # Audio-JEPA
]
both = pytest.mark.parametrize(
    "front_end", FRONT_ENDS, ids=["log-mel", "kaldi", "decibels", "slaney", "peak"]
)


def noise(samples: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(0))


@both
@pytest.mark.parametrize("samples", [1, 2, 159, 400, 16000])
@pytest.mark.parametrize("rate", [16000, 44100, 8000, 11127])
def test_silence_of_any_length_gives_finite_frames(
    front_end: AbstractFrontEnd, samples: int, rate: int
) -> None:
    frames = front_end(torch.zeros(samples), rate)
    assert frames.shape[0] >= 1
    assert frames.shape[1] == front_end.bands
    assert frames.dtype == torch.float32
    assert frames.isfinite().all()


def test_silence_is_the_logarithm_of_the_floor() -> None:
    frames = LogMel(floor=1e-4)(torch.zeros(800), 16000)
    assert torch.allclose(frames, torch.tensor(1e-4).log())


@both
@pytest.mark.parametrize("samples", [1, 100, 399])
def test_a_short_sound_gives_finite_frames(front_end: AbstractFrontEnd, samples: int) -> None:
    assert front_end(noise(samples), 16000).isfinite().all()


@given(st.integers(1, 5000))
@settings(max_examples=30, deadline=None)
def test_a_clip_gives_a_frame_for_each_hop_begun(samples: int) -> None:
    assert len(LogMel()(noise(samples), 16000)) == math.ceil(samples / 160)


@both
def test_a_constant_offset_changes_nothing(front_end: AbstractFrontEnd) -> None:
    sound = noise(8000)
    assert torch.allclose(front_end(sound + 0.5, 16000), front_end(sound, 16000), atol=1e-2)


@both
def test_a_tone_is_in_the_same_band_at_any_rate(front_end: AbstractFrontEnd) -> None:
    peaks = set()
    for rate in (16000, 32000, 44100, 44101):
        sound = torch.sin(2 * math.pi * 1000 * torch.arange(rate) / rate)
        peaks.add(int(front_end(sound, rate)[20:-20].mean(dim=0).argmax()))
    assert len(peaks) == 1


def test_log_mel_agrees_with_its_definition() -> None:
    front_end, sound = LogMel(), noise(4000)
    sound -= sound.mean()
    filters = torchaudio.functional.melscale_fbanks(257, 50.0, 8000.0, 64, 16000).numpy()
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.pad(sound.numpy().astype(np.float64), 256)
    slow = [
        np.log(np.abs(np.fft.rfft(padded[at : at + 512] * window)) ** 2 @ filters + 1e-6)
        for at in range(0, 4000, 160)
    ]
    assert np.allclose(front_end(sound, 16000).numpy(), slow, atol=1e-3)


def test_kaldi_fbank_has_the_settings_of_ast() -> None:
    # https://github.com/YuanGongND/ast/blob/master/src/dataloader.py
    sound = noise(16000)
    sound -= sound.mean()
    published = kaldi.fbank(
        sound.unsqueeze(0),
        htk_compat=True,
        sample_frequency=16000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    assert torch.allclose(KaldiFbank()(sound, 16000), published, atol=1e-3)


@both
def test_a_front_end_is_deterministic_and_spares_its_input(front_end: AbstractFrontEnd) -> None:
    sound = noise(8000)
    before = sound.clone()
    assert torch.equal(front_end(sound, 16000), front_end(sound, 16000))
    assert torch.equal(sound, before)


@both
def test_the_hop_is_in_seconds(front_end: AbstractFrontEnd) -> None:
    assert front_end.hop_seconds == pytest.approx(0.01)


def test_the_hop_is_rounded_to_samples() -> None:
    assert LogMel(hop_ms=15.6).hop_seconds * 16000 == 250


@both
def test_a_front_end_is_a_part_like_any_other(front_end: AbstractFrontEnd) -> None:
    assert build(resolve(front_end), expect=AbstractFrontEnd) == front_end


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"bands": 0}, "`bands`.*got 0"),
        ({"bands": 256}, r"\d+ of 256 mel bands .*lower `bands`, or raise `fft_size` above 512"),
        ({"f_max": 9000.0}, "`f_max` 9000 .*8000"),
        ({"f_min": 8000.0}, "`f_min` 8000"),
        ({"hop_ms": 0.0}, "`hop_ms`.*got 0"),
        ({"window_ms": -1.0}, "`window_ms`.*got -1"),
        ({"floor": 0.0}, "`floor`"),
        ({"fft_size": 256}, "`fft_size` 256 .*400.*give 512"),
        ({"sample_rate": 0}, "`sample_rate`.*got 0"),
    ],
)
def test_invalid_settings_are_rejected_by_name(chosen: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**chosen)  # type: ignore[arg-type]


def test_a_longer_fft_serves_more_bands() -> None:
    assert LogMel(bands=256, fft_size=4096)(noise(800), 16000).shape == (5, 256)


def test_kaldi_settings_are_checked_too() -> None:
    with pytest.raises(ValueError, match="`preemphasis`"):
        KaldiFbank(preemphasis=2.0)


def test_decibels_agree_with_their_definition() -> None:
    sound = noise(8000) * torch.linspace(0, 1, 8000) ** 8  # from silence to loud
    power = LogMel(floor=1e-10)(sound, 16000).double().exp() - 1e-10
    decibels = 10 * np.log10(np.maximum(power.numpy(), 1e-10))
    cut = np.maximum(decibels, decibels.max() - 80)
    assert (cut > decibels).any()
    assert np.allclose(LogMel(floor=1e-10, top_db=80.0)(sound, 16000).numpy(), cut, atol=1e-2)


def test_slaneys_filters_are_of_equal_area() -> None:
    # white noise: as much in each band, where the filters of HTK let high bands through more
    power = LogMel(fft_size=2048, filters="slaney")(noise(160000), 16000).exp().mean(dim=0)
    assert power.max() / power.min() < 1.5


@pytest.mark.parametrize("loud", [1e-3, 1.0])
def test_a_level_of_peak_makes_any_loudness_the_same(loud: float) -> None:
    sound = noise(8000)
    levelled = KaldiFbank(level="peak")
    assert torch.allclose(levelled(sound * loud, 16000), levelled(sound, 16000), atol=1e-2)


@both
def test_a_window_is_in_seconds_and_at_least_a_hop(front_end: AbstractFrontEnd) -> None:
    assert front_end.window_seconds >= front_end.hop_seconds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_db": 0.0}, "`top_db` must be greater than 0, got 0.0"),
        ({"normalisation": (0.0, 0.0)}, r"a deviation above 0, got \[0.0, 0.0\]"),
    ],
)
def test_invalid_scales_are_rejected(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**settings)
