"""Stems: maps from the values of a patch to a token."""

import pytest
import torch
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.stems import WAV2VEC2, Convolutional2D, LinearStem, Speech1D, WaveformStem
from ablate.model.transformer import initialise


def random_tensor(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(0, *shape))


@pytest.mark.parametrize(
    ("settings", "pixels"),
    [
        (LinearStem(), 12),
        (Convolutional2D(freq=16, time=16), 256),
        (Convolutional2D(freq=64, time=4), 256),
        (Speech1D(freq=64, time=4), 256),
        (Speech1D(freq=5, time=1), 5),
        (WaveformStem(layers=((4, 2), (3, 2)), channels=6), 8),
    ],
)
def test_a_stem_processes_one_patch_at_a_time(settings, pixels):
    stem = settings.build(pixels, 16)
    initialise(stem, 0, "stem")
    patches = random_tensor(5, pixels)
    together = stem(patches)
    apart = torch.cat([stem(patches[i : i + 1]) for i in range(5)])
    assert together.shape == (5, 16)
    assert torch.allclose(together, apart, atol=1e-5)
    patches[2] = 1e6
    assert torch.allclose(stem(patches)[[0, 1, 3, 4]], together[[0, 1, 3, 4]], atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "window", "hop"), [(WAV2VEC2, 400, 320), (WAV2VEC2[:-1], 240, 160)]
)
def test_separate_windows_equal_convolutions_over_the_waveform(layers, window, hop):
    settings = WaveformStem(layers=layers, channels=6)
    assert (settings.window, settings.hop) == (window, hop)
    stem = settings.build(window, 8)
    initialise(stem, 0, "stem")
    waveform = random_tensor(1, 1, window + 6 * hop)
    signal = waveform
    for convolution, (_, stride) in zip(stem.convolutions, layers, strict=True):
        signal = F.conv1d(signal, convolution.weight, stride=stride)
        signal = F.gelu(F.layer_norm(signal.mT, (6,)).mT)
    expected = stem.collect(F.layer_norm(signal[0].mT, (6,)))
    windows = waveform[0, 0].unfold(0, window, hop)
    assert torch.allclose(stem(windows), expected, atol=1e-5)


def test_a_square_patch_is_reduced_to_one_pixel():
    stem = Convolutional2D().build(256, 32)
    assert stem.collect.weight.shape == (32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Convolutional2D(freq=16, time=8), "16 mel bands and 8 frames does not fit .* of 256"),
        (Speech1D(freq=128, time=4), "128 mel bands and 4 frames does not fit patches of 256"),
        (
            WaveformStem(),
            "need patches of 400 samples, 320 apart; the patchifier cuts patches of 256",
        ),
    ],
)
def test_a_stem_for_patches_of_another_shape_is_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.build(256, 16)


def test_a_stride_of_zero_is_rejected():
    with pytest.raises(ValueError, match="`layers` must be"):
        WaveformStem(layers=((10, 0),))
