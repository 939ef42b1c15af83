"""Batches depend only on (seed, step), and are cropped, normalised and padded."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.audio.loader import Batch, Loader, Normaliser, compute_statistics, cut_windows
from ablate.audio.store import ClipStore
from ablate.model.patchify import AbstractPatchifier, Overlapping, Rectangles
from ablate.worker.audio_data import AudioData

Numbered = Callable[[Sequence[int]], ClipStore]
AS_IT_IS = Normaliser(np.zeros(2, np.float32), np.ones(2, np.float32))


def numbers(batch: Batch) -> list[list[int]]:
    """Reads back which frames of a numbered store each row of a batch holds."""
    return [
        (mels[0] * 1000 + mels[1])[valid].long().tolist()
        for mels, valid in zip(batch.mels, batch.valid_frames, strict=True)
    ]


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.mels, other.mels) and torch.equal(one.valid_frames, other.valid_frames)


def test_a_batch_depends_on_seed_and_step_alone(small_store: ClipStore) -> None:
    normaliser = compute_statistics(small_store, range(20))
    loader = Loader(small_store, range(40), 64, normaliser, 3)
    in_order = [loader.batch(step, 16) for step in range(4)]
    torch.rand(5)  # what a masker draws meanwhile is none of its business
    again = Loader(small_store, range(40), 64, normaliser, 3)
    assert all(same(again.batch(step, 16), in_order[step]) for step in (3, 0, 2, 1))


def test_torchs_global_generator_is_not_used(numbered: Numbered) -> None:
    before = torch.get_rng_state()
    Loader(numbered([30, 40]), [0, 1], 8, AS_IT_IS, 0).batch(0, 4)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_other_batches(numbered: Numbered) -> None:
    store = numbered([50] * 20)
    one, other = (Loader(store, range(20), 8, AS_IT_IS, seed).batch(0, 20) for seed in (0, 1))
    assert not same(one, other)


@given(st.integers(1, 12), st.integers(1, 7), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_epoch_holds_every_clip_once(
    numbered: Numbered, clips: int, size: int, seed: int
) -> None:
    loader = Loader(numbered([3] * clips), range(clips), 3, AS_IT_IS, seed)
    steps = range(clips)  # clips * size rows: `size` whole epochs
    loaded = [row[0] // 3 for step in steps for row in numbers(loader.batch(step, size))]
    for epoch in range(size):
        assert sorted(loaded[epoch * clips : (epoch + 1) * clips]) == list(range(clips))


def test_epochs_differ_in_order_and_crops(numbered: Numbered) -> None:
    loader = Loader(numbered([60] * 10), range(10), 8, AS_IT_IS, 0)
    first, second = numbers(loader.batch(0, 10)), numbers(loader.batch(1, 10))
    assert [row[0] // 60 for row in first] != [row[0] // 60 for row in second]
    starts = [{row[0] // 60: row[0] % 60 for row in rows} for rows in (first, second)]
    assert starts[0] != starts[1]


def test_micro_batches_make_up_the_batch(numbered: Numbered) -> None:
    loader = Loader(numbered([20] * 7), range(7), 8, AS_IT_IS, 0)
    halves = numbers(loader.batch(4, 3)) + numbers(loader.batch(5, 3))
    assert halves == numbers(loader.batch(2, 6))


def test_the_paths_of_a_batch_are_returned(numbered: Numbered) -> None:
    loader = Loader(numbered([4] * 10), range(10), 4, AS_IT_IS, 0)
    actual = [f"{row[0] // 4}.wav" for row in numbers(loader.batch(3, 4))]
    assert loader.paths(3, 4) == actual


def test_only_the_selected_clips_are_drawn(numbered: Numbered) -> None:
    loader = Loader(numbered([4] * 10), [2, 5], 4, AS_IT_IS, 0)
    drawn = {row[0] // 4 for step in range(5) for row in numbers(loader.batch(step, 4))}
    assert drawn == {2, 5}


@given(st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_loaders_that_skip_different_clips_agree_on_those_they_share(
    numbered: Numbered, one: set[int], other: set[int], seed: int
) -> None:
    store, shared = numbered([40] * 10), set(range(10)) - one - other
    for epoch in range(3):
        loaded = []
        for skip in (one, other):
            clips = 10 - len(skip)
            loader = Loader(store, range(10), 8, AS_IT_IS, seed, skip=frozenset(skip))
            rows = numbers(loader.batch(epoch, clips))
            assert sorted(row[0] // 40 for row in rows) == sorted(set(range(10)) - skip)
            loaded.append([row for row in rows if row[0] // 40 in shared])
        assert loaded[0] == loaded[1]


def test_skipped_clips_are_those_of_the_store(numbered: Numbered) -> None:
    loader = Loader(numbered([4] * 10), [2, 5, 7], 4, AS_IT_IS, 0, skip=frozenset({5, 9}))
    assert {row[0] // 4 for row in numbers(loader.batch(0, 2))} == {2, 7}


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_a_crop_is_consecutive_and_padding_is_marked(
    numbered: Numbered, length: int, crop: int
) -> None:
    batch = Loader(numbered([length]), [0], crop, AS_IT_IS, 0).batch(0, 3)
    assert batch.mels.shape == (3, 2, crop)
    for mels, valid, row in zip(batch.mels, batch.valid_frames, numbers(batch), strict=True):
        assert row == list(range(row[0], row[0] + min(length, crop)))
        assert valid.tolist() == [True] * len(row) + [False] * (crop - len(row))
        assert (mels[:, ~valid] == 0).all()


def test_crops_reach_both_ends_of_a_clip(numbered: Numbered) -> None:
    loader = Loader(numbered([10]), [0], 8, AS_IT_IS, 0)
    starts = {row[0] for row in numbers(loader.batch(0, 60))}
    assert starts == {0, 1, 2}


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_crops_are_normalised_to_the_bits_that_numpy_computes(
    numbered: Numbered, length: int, crop: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=2).astype(np.float32), rng.uniform(0.1, 9, 2).astype(np.float32)
    batch = Loader(numbered([length]), [0], crop, Normaliser(mean, std), seed).batch(0, 3)
    frames = batch.frames.mT.numpy().astype(np.float32)
    expected = np.where(batch.valid_frames.numpy()[:, :, None], (frames - mean) / std, 0)
    assert np.array_equal(batch.mels.mT.numpy(), expected)


def test_a_batch_in_page_locked_memory_or_cut_or_joined_holds_the_same_clips(
    small_store: ClipStore,
) -> None:
    batch = Loader(small_store, range(40), 64, compute_statistics(small_store, range(9)), 3).batch(
        0, 16
    )
    assert same(Batch.concatenate([batch[:5], batch[5:]]), batch)
    if torch.cuda.is_available():
        assert same(batch.pin_memory(), batch)


def test_padding_is_zero_after_normalisation(numbered: Numbered) -> None:
    normaliser = Normaliser(np.full(2, 5, np.float32), np.full(2, 2, np.float32))
    batch = cut_windows(numbered([3]), 0, 8, normaliser)
    assert (batch.mels[:, :, 3:] == 0).all()
    assert batch.mels[0, 0, 0] == -2.5


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_windows_hold_every_frame_once_in_order(
    numbered: Numbered, lengths: list[int], crop: int
) -> None:
    store = numbered(lengths)
    loaded = [
        number
        for index in range(len(lengths))
        for row in numbers(cut_windows(store, index, crop, AS_IT_IS))
        for number in row
    ]
    assert loaded == list(range(sum(lengths)))


def test_statistics_over_all_bands_agree_with_numpy(small_store: ClipStore) -> None:
    frames = np.concatenate([small_store.frames(index) for index in range(8)])
    actual = compute_statistics(small_store, range(8), "all")
    assert np.allclose(actual.mean, frames.mean(), atol=1e-4)
    assert np.allclose(actual.std, frames.std(), atol=1e-4)
    assert len(actual.mean) == small_store.bands


def test_fixed_statistics_are_used_unchanged(small_store: ClipStore) -> None:
    normaliser = compute_statistics(small_store, [], (-4.0, 9.0))
    frames = small_store.frames(0)
    assert np.allclose(normaliser(frames), (frames + 4) / 9)


def test_statistics_agree_with_numpy(small_store: ClipStore) -> None:
    indices = [0, 7, 50]
    frames = np.concatenate([small_store.frames(index) for index in indices]).astype(np.float64)
    actual = compute_statistics(small_store, indices)
    assert np.allclose(actual.mean, frames.mean(axis=0), atol=1e-4)
    assert np.allclose(actual.std, frames.std(axis=0), atol=1e-4)


def test_normalised_training_clips_have_no_offset_and_unit_deviation(
    small_store: ClipStore,
) -> None:
    normaliser = compute_statistics(small_store, range(8))
    mels = torch.cat([cut_windows(small_store, i, 128, normaliser).mels for i in range(8)])
    assert mels.mean(dim=(0, 2)).abs().max() < 1e-3
    assert (mels.std(dim=(0, 2), correction=0) - 1).abs().max() < 1e-3


def test_a_constant_band_stays_finite(numbered: Numbered) -> None:
    store = numbered([20])  # its first band is 0 throughout
    batch = cut_windows(store, 0, 20, compute_statistics(store, [0]))
    assert (batch.mels[:, 0] == 0).all()


def test_a_loader_without_clips_is_rejected(numbered: Numbered) -> None:
    with pytest.raises(ValueError, match="no clips to train on"):
        Loader(numbered([5]), [], 4, AS_IT_IS, 0)
    with pytest.raises(ValueError, match="no clips to train on"):
        Loader(numbered([5]), [0], 4, AS_IT_IS, 0, skip=frozenset({0}))
    with pytest.raises(ValueError, match="no clips to measure"):
        compute_statistics(numbered([5]), [])


def test_an_empty_crop_is_rejected(numbered: Numbered) -> None:
    with pytest.raises(ValueError, match=r"`crop_frames`.*got 0"):
        Loader(numbered([5]), [0], 0, AS_IT_IS, 0)


@pytest.mark.parametrize(
    ("patchifier", "bands", "crop"),
    [
        (Rectangles(freq=2, time=4), 2, 16),
        (Rectangles(freq=1, time=4), 2, 16),
        (Rectangles(freq=2, time=16), 2, 16),
        (Overlapping(freq=2, time=6, freq_stride=2, time_stride=2), 2, 16),
        (Overlapping(freq=1, time=4, freq_stride=1, time_stride=1), 2, 5),
    ],
    ids=repr,
)
def test_clips_shorter_than_two_patches_are_listed(
    numbered: Numbered, patchifier: AbstractPatchifier, bands: int, crop: int
) -> None:
    lengths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 40]
    audio = AudioData(numbered(lengths), hop_seconds=0.01)
    slow = [
        index
        for index, length in enumerate(lengths)
        if patchifier.valid(torch.arange(crop).unsqueeze(0) < length, bands).sum() < 2
    ]
    assert audio.find_too_short(patchifier, crop, bands).tolist() == slow
