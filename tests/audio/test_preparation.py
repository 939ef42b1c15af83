"""Preprocessing removes silence, scales the level, and leaves the rest unchanged."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.mel import LogMel
from ablate.audio.preparation import Prepared
from ablate.audio.waveform import Waveform
from ablate.parts import build, resolve

AS_IS = Waveform(level="as_is")


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(int(seconds * 16000), generator=generator)


def prepare(waveform: torch.Tensor, **settings: float) -> torch.Tensor:
    return Prepared(front_end=AS_IS, **settings)(waveform, 16000).squeeze(1)


def test_silence_is_removed_anywhere() -> None:
    pieces = [noise(0.2, seed=1), torch.zeros(4800), noise(0.1, seed=2), torch.zeros(3200)]
    actual = prepare(torch.cat(pieces), silence_db=40)
    assert len(actual) == len(pieces[0]) + len(pieces[2])
    kept = torch.cat(pieces[::2])
    assert torch.allclose(actual, kept - kept.mean(), atol=1e-5)


def test_soft_segments_above_the_threshold_are_kept() -> None:
    sound = torch.cat([noise(0.2), noise(0.2, level=0.01, seed=1)])  # 20 dB softer
    assert len(prepare(sound, silence_db=30)) == len(sound)
    assert len(prepare(sound, silence_db=10)) == len(sound) // 2


@given(level=st.floats(-60, -1), gain=st.floats(0.01, 10))
def test_every_clip_is_scaled_to_the_level(level: float, gain: float) -> None:
    actual = prepare(gain * noise(0.3) + 0.5, level_db=level)  # an offset is no level
    assert 20 * actual.square().mean().sqrt().log10() == pytest.approx(level, abs=0.01)


@pytest.mark.parametrize("settings", [{"silence_db": 40.0}, {"level_db": -20.0}])
def test_silence_alone_stays_silence(settings: dict[str, float]) -> None:
    assert prepare(torch.zeros(1600), **settings).abs().max() == 0
    assert prepare(torch.full((1600,), 0.3), **settings).abs().max() < 1e-5
    assert len(prepare(torch.zeros(1), **settings)) == 1


def test_a_prepared_front_end_is_a_part_like_any_other() -> None:
    prepared = Prepared(front_end=LogMel(bands=32), silence_db=40, level_db=-20)
    assert build(resolve(prepared), expect=Prepared) == prepared
    assert prepared(noise(0.32), 16000).shape == (32, 32)
    assert prepared.hop_seconds == 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "set `silence_db`, `level_db` or both"),
        ({"silence_db": 0.0}, "`silence_db` must be above 0; got 0"),
        ({"level_db": 3.0}, "`level_db` must lie in"),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prepared(front_end=AS_IS, **settings)
