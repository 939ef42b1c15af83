"""Patchifiers cut and paste patches as declared."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.masking import Clips, Grid
from ablate.model.patchify import Overlapping, Rectangles, Windows
from ablate.testing import check_patchifier
from maskers import DeadZone, MultiBlock

ALL = [
    Rectangles(),
    Rectangles(freq=64, time=4),
    Rectangles(freq=8, time=100),
    Rectangles(freq=1, time=1),
    Overlapping(),
    Overlapping(rest="drop"),
    Overlapping(freq=64, time=4, freq_stride=64, time_stride=2),
    Overlapping(freq=3, time=3, freq_stride=1, time_stride=1),
    Windows(),
    Windows(time=240, time_stride=160),
    Windows(rest="refuse"),
]
sizes = st.tuples(*[st.integers(1, 5)] * 4)


@given(sizes)
def test_a_patch_contains_its_rectangle_of_the_spectrogram(sizes):
    rows, columns, freq, time = sizes
    patchifier = Rectangles(freq=freq, time=time)
    mels = torch.arange(2.0 * rows * freq * columns * time).view(2, rows * freq, columns * time)
    assert patchifier.grid(*mels.shape[1:]) == Grid(rows, columns)
    patches = patchifier.cut(mels)
    assert patches.shape == (2, rows * columns, patchifier.pixels)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        rectangle = mels[:, row * freq : (row + 1) * freq, column * time : (column + 1) * time]
        assert torch.equal(patches[:, index], rectangle.flatten(1))


@given(sizes, st.integers(1, 25))
def test_a_patch_is_valid_if_it_contains_a_frame_that_is_not_padding(sizes, real):
    rows, columns, freq, time = sizes
    valid_frames = (torch.arange(columns * time) < real).unsqueeze(0)
    valid = Rectangles(freq=freq, time=time).valid(valid_frames, rows * freq)
    for index in range(rows * columns):
        column = index % columns
        frames = valid_frames[0, column * time : (column + 1) * time]
        assert valid[0, index] == frames.any()


@pytest.mark.parametrize(
    ("freq", "time", "message"),
    [
        (24, 16, r"`freq` 24 do not divide 64 mel bands; these would: 1, 2, 4, 8, 16, 32, 64"),
        (16, 100, r"`time` 100 do not divide 128 frames"),
    ],
)
def test_a_patch_size_that_does_not_divide_is_an_error_with_those_that_do(freq, time, message):
    with pytest.raises(ValueError, match=message):
        Rectangles(freq=freq, time=time).grid(64, 128)


def test_a_patch_size_of_zero_is_an_error():
    with pytest.raises(ValueError, match="`time` must be at least 1; got 0"):
        Rectangles(freq=16, time=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq_stride": 17}, r"`freq_stride` must lie in \[1, 16\], the patch's size; got 17"),
        ({"time_stride": 0}, r"`time_stride` must lie in \[1, 16\], the patch's size; got 0"),
    ],
)
def test_a_stride_that_leaves_gaps_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        Overlapping(**changes)


@pytest.mark.parametrize("patchifier", ALL, ids=repr)
def test_every_patchifier_keeps_its_promises(patchifier):
    check_patchifier(patchifier)


@pytest.mark.parametrize(
    ("patchifier", "size", "grid"),
    [
        (Rectangles(), (128, 1024), Grid(8, 64)),  # AudioMAE, EAT, A-JEPA
        (Rectangles(), (128, 256), Grid(8, 16)),  # Audio-JEPA
        (Rectangles(), (80, 608), Grid(5, 38)),  # M2D
        (Rectangles(freq=64, time=4), (64, 1008), Grid(1, 252)),  # Dasheng
        (Overlapping(rest="drop"), (128, 1024), Grid(12, 101)),  # AST
        (Windows(), (1, 160000), Grid(1, 499)),  # wav2vec 2.0, of 10 s
        (Windows(time=240, time_stride=160), (1, 32160), Grid(1, 200)),  # WavJEPA, of 2.01 s
    ],
    ids=str,
)
def test_published_patchifiers_give_the_published_grids(patchifier, size, grid):
    assert patchifier.grid(*size) == grid


def test_the_bands_and_frames_that_ast_drops_are_reported():
    assert Overlapping(rest="drop").covered(128, 1024) == (126, 1016)
    with pytest.raises(
        ValueError, match=r"leave the last 2 of 128 mel bands over; give 126 or 136"
    ):
        Overlapping().grid(128, 1016)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3), st.integers(0, 3))
def test_an_overlapping_patch_contains_its_rectangle_of_the_spectrogram(
    rows, columns, more_freq, more_time
):
    patchifier = Overlapping(freq=4, time=5, freq_stride=4 - more_freq, time_stride=5 - more_time)
    bands = 4 + (rows - 1) * patchifier.freq_stride
    frames = 5 + (columns - 1) * patchifier.time_stride
    mels = torch.arange(2.0 * bands * frames).view(2, bands, frames)
    patches = patchifier.cut(mels)
    for index in range(rows * columns):
        top = index // columns * patchifier.freq_stride
        left = index % columns * patchifier.time_stride
        rectangle = mels[:, top : top + 4, left : left + 5]
        assert torch.equal(patches[:, index], rectangle.flatten(1))


def test_overlapping_patches_are_averaged():
    patches = torch.tensor([[[0.0, 0.0], [4.0, 4.0], [6.0, 6.0]]])
    pasted = Overlapping(freq=1, time=2, freq_stride=1, time_stride=1).paste(patches, 1, 4)
    assert torch.equal(pasted, torch.tensor([[[0.0, 2.0, 5.0, 6.0]]]))


@given(st.integers(0, 100))
def test_with_a_dead_zone_visible_patches_share_nothing_with_hidden_ones(seed):
    patchifier, rng = Overlapping(), torch.Generator().manual_seed(seed)
    masker = DeadZone(masker=MultiBlock(num_targets=1), freq=1, time=1)
    mask = masker.draw(Clips.unpadded(patchifier.grid(76, 156), 8), rng)

    def mark_covered(chosen):
        patches = chosen.float().unsqueeze(2).expand(-1, -1, patchifier.pixels)
        return patchifier.paste(patches, 76, 156) > 0

    assert not (mark_covered(mask.context) & mark_covered(mask.target_union))[~mask.fallback].any()


def test_windows_are_cut_from_a_waveform_only():
    with pytest.raises(ValueError, match="`mel` gives 64 bands, not 1"):
        Windows().grid(64, 16000)
