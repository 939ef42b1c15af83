"""The waveform front end has one band and a frame per sample, is scaled, and stored in 16 bits."""

import pytest
import torch

from ablate.audio.waveform import Waveform
from ablate.parts import build, resolve

LEVELS = ("unit", "peak", "as_is")


def noise(samples: int, loud: float = 0.1) -> torch.Tensor:
    return loud * torch.randn(samples, generator=torch.Generator().manual_seed(0)) + 0.3


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 7, 16000])
def test_silence_and_a_single_sample_give_finite_frames(level, rate, samples):
    for sound in (torch.zeros(samples), noise(samples)):
        frames = Waveform(level=level)(sound, rate)
        assert frames.shape[0] >= 1
        assert frames.shape[1] == 1
        assert frames.dtype == torch.float32
        assert frames.isfinite().all()


@pytest.mark.parametrize("loud", [1e-3, 1.0])
def test_the_level_does_not_depend_on_the_loudness(loud):
    unit, peak = (Waveform(level=level)(noise(8000, loud), 16000) for level in ("unit", "peak"))
    assert abs(float(unit.mean())) < 1e-4
    assert float(unit.square().mean()) == pytest.approx(1, abs=1e-4)
    assert float(peak.abs().max()) == pytest.approx(1, abs=1e-4)


def test_as_it_is_only_the_mean_is_removed():
    sound = noise(8000)
    frames = Waveform(level="as_is")(sound, 16000)
    assert torch.equal(frames[:, 0], sound - sound.mean())


@pytest.mark.parametrize("loud", [1.0, 1e-2])
def test_sixteen_bits_keep_a_waveform_70_db_above_their_rounding(loud):
    frames = loud * Waveform()(noise(160000), 16000)
    rounding = frames.half().float() - frames
    ratio = 10 * (frames.square().mean() / rounding.square().mean()).log10()
    assert ratio > 70


def test_a_second_holds_as_many_frames_as_the_sample_rate():
    front_end = Waveform(sample_rate=8000)
    assert len(front_end(noise(16000), 16000)) == 8000
    assert front_end.hop_seconds * 8000 == 1


def test_it_is_a_part_like_any_other():
    front_end = Waveform(level="peak")
    assert build(resolve(front_end), expect=Waveform) == front_end
