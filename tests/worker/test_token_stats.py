"""The duration and overlap of tokens agree with counts of samples."""

import pytest
import torch

from ablate.audio.mel import KaldiFbank, LogMel
from ablate.audio.waveform import Waveform
from ablate.model.patchify import Overlapping, Rectangles, Windows
from ablate.worker.token_stats import compute_token_stats


@pytest.mark.parametrize(
    ("mel", "patchifier", "frames", "seconds", "rate"),
    [
        (KaldiFbank(), Rectangles(), 1024, 0.16, 50),  # AudioMAE: 512 tokens for 10.24 s
        (
            KaldiFbank(sample_rate=32000, hop_ms=39.0625, window_ms=97.65625),
            Rectangles(),
            256,
            0.625,  # Audio-JEPA
            12.8,
        ),
        (LogMel(), Rectangles(freq=64, time=4), 1008, 0.04, 25),  # Dasheng
        (LogMel(bands=80), Rectangles(freq=80, time=2), 1000, 0.02, 50),
        (LogMel(bands=80), Rectangles(freq=16, time=1000), 1000, 10.0, 0.5),  # rows
        (Waveform(), Windows(), 160000, 0.02, 50),  # wav2vec 2.0
        (Waveform(), Windows(time=240, time_stride=160), 32160, 0.01, 100),  # WavJEPA
    ],
)
def test_published_patch_sizes_give_the_published_token_rates(
    mel, patchifier, frames, seconds, rate
):
    stats = compute_token_stats(mel, patchifier, frames)
    assert stats.seconds_per_token == pytest.approx(seconds)
    assert stats.tokens_per_second == pytest.approx(rate)


def mark_samples(mel, patchifier, frames, index):
    """Marks the samples from which a token of the first row is computed."""
    hop, window = (round(s * 16000) for s in (mel.hop_seconds, mel.window_seconds))
    samples = torch.zeros((frames + 8) * hop + window, dtype=torch.bool)
    first = index * patchifier.stride[1]
    for frame in range(first, first + patchifier.size[1]):
        samples[frame * hop : frame * hop + window] = True
    return samples


@pytest.mark.parametrize(
    "mel", [*(LogMel(bands=8, window_ms=ms) for ms in (25, 10, 5, 70)), Waveform()]
)
@pytest.mark.parametrize("cut", [(4, 4), (16, 10), (1, 1), (3, 1)])
def test_the_leak_is_the_number_of_samples_that_neighbours_share(mel, cut):
    time, stride = cut
    patchifier = Overlapping(freq=1, time=time, freq_stride=1, time_stride=stride, rest="drop")
    stats = compute_token_stats(mel, patchifier, 64)
    one, other = (mark_samples(mel, patchifier, 64, index) for index in (0, 1))
    assert stats.leak_seconds * 16000 == pytest.approx(int((one & other).sum()))
    hop, window = (round(s * 16000) for s in (mel.hop_seconds, mel.window_seconds))
    edge = torch.zeros_like(one)
    edge[(time - 1) * hop : (time - 1) * hop + window] = True
    assert stats.window_leak == pytest.approx(int((edge & other).sum()) / window)


def test_overlapping_patches_have_a_warning_with_a_remedy():
    stats = compute_token_stats(LogMel(bands=128, fft_size=2048), Overlapping(rest="drop"), 1024)
    assert stats.dropped == (2, 8)
    warning, dropped = stats.messages[1:]
    assert "shares 38% of its bands and 38% of its frames" in warning
    assert "`maskers.DeadZone`" in warning
    assert dropped == "the last 2 bands and 8 frames belong to no patch"


def test_adjacent_patches_without_shared_windows_leak_nothing():
    stats = compute_token_stats(LogMel(bands=8, window_ms=10), Rectangles(freq=8), 128)
    assert stats.leak_seconds == stats.window_leak == stats.time_overlap == 0
    assert stats.messages == ("a column of tokens every 160 ms, 6.25 tokens per second",)
