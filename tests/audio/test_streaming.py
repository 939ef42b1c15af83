"""Long clips are converted piece by piece, to the same frames as at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio import streaming
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.mel import KaldiFbank, LogMel
from ablate.audio.preparation import Prepared
from ablate.audio.resampling import resample
from ablate.audio.streaming import ResampledStream, cut_chunks
from ablate.audio.waveform import Waveform
from ablate.audio.waveform_stream import Samples, WaveformStream
from tests.audio.sounds import create_tone


@dataclass(frozen=True)
class Blocks(WaveformStream):
    """A waveform in blocks of given sizes, the last of which repeats."""

    samples: Samples
    sizes: tuple[int, ...]
    rate: int = 16000

    @property
    def sample_rate(self) -> int:
        return self.rate

    def blocks(self) -> Iterator[Samples]:
        place, sizes = 0, iter(self.sizes)
        while place < len(self.samples):
            size = next(sizes, self.sizes[-1])
            yield self.samples[place : place + size]
            place += size


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_CHUNK", 5000)


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1).map(tuple),
    count=st.integers(1, 400),
    size=st.integers(1, 40),
    overlap=st.integers(0, 20),
)
def test_chunks_overlap_and_cover_everything(
    sizes: tuple[int, ...], count: int, size: int, overlap: int
) -> None:
    samples = np.arange(count, dtype=np.float32)
    chunks = list(cut_chunks(Blocks(samples, sizes).blocks(), size, overlap))
    assert [is_last for _, is_last in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk) == size + overlap for chunk, _ in chunks[:-1])
    joined = [chunk[:size] for chunk, _ in chunks[:-1]] + [chunks[-1][0]]
    np.testing.assert_array_equal(np.concatenate(joined), samples)


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(44100, 16000), (8000, 16000), (16000, 22050), (44101, 16000)]
)
def test_resampling_piece_by_piece_equals_resampling_at_once(rate: int, new_rate: int) -> None:
    samples = create_tone(3.03, rate)
    stream = ResampledStream(Blocks(samples, (1000, 7777), rate), new_rate)
    expected = resample(torch.from_numpy(samples), rate, new_rate).numpy()
    actual = np.concatenate(list(stream.blocks()))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(
    "front_end",
    [
        LogMel(),
        LogMel(hop_ms=7.3, window_ms=31, bands=20, top_db=60.0, filters="slaney", f_max=7000),
        KaldiFbank(bands=40),
        KaldiFbank(bands=40, level="peak", hop_ms=12.5),
        Waveform(),
        Waveform(level="peak"),
        Waveform(level="as_is"),
        Prepared(front_end=LogMel(), silence_db=30, level_db=-20),
        Prepared(front_end=KaldiFbank(bands=40), silence_db=10),
    ],
    ids=repr,
)
@pytest.mark.parametrize(("rate", "seconds"), [(16000, 2.0), (44100, 1.7131)])
def test_frames_piece_by_piece_equal_frames_at_once(
    front_end: AbstractFrontEnd, rate: int, seconds: float
) -> None:
    samples = create_tone(seconds, rate) + np.float32(0.1)
    samples[rate // 2 : rate] *= 0.001
    expected = front_end(torch.from_numpy(samples), rate)
    pieces = list(front_end.convert_stream(Blocks(samples, (1, 4096), rate)))
    assert len(pieces) > 1
    # the quiet second holds rounding errors of the loud ones, -120 dB below them
    torch.testing.assert_close(torch.cat(pieces), expected, atol=2e-3, rtol=1e-4)
