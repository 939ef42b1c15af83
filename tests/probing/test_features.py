"""Pooled features of clips of every length, against the slow and obvious way."""

import functools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.audio.loader import compute_statistics, cut_windows
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.audio.synthetic import Synthetic
from ablate.model.packing import pack
from ablate.model.patchify import Rectangles
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.probing.features import Reader, encoder_features, mel_features
from ablate.probing.views import TOKENS, View, Views

CROP = 48
LAYERS = 2
VIEWS = Views(
    poolings=("mean", "mean_std", "concat_freq", "max"), layers=("last", "mean", "each")
).of(LAYERS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    corpus = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
    return open_store(corpus, LogMel(bands=32), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A store of clips from a fraction of a window to many windows."""
    folder = tmp_path_factory.mktemp("uneven")
    rows = ["path,label,split"]
    for name, seconds in (("a", 0.3), ("b", 8.0), ("c", 0.02), ("d", 0.2), ("e", 1.1)):
        samples = np.random.default_rng(len(rows)).normal(size=int(16000 * seconds)) * 0.1
        soundfile.write(folder / f"{name}.wav", samples, 16000)
        rows.append(f"{name}.wav,{'xy'[len(rows) % 2]},{('train', 'test')[len(rows) > 2]}")
    (folder / "m.csv").write_text("\n".join(rows))
    source = Folder(manifest=str(folder / "m.csv"), task="noise")
    return open_store(source, LogMel(bands=32), folder / "cache")


@functools.cache
def reader_of(store, freq=16, time=16):
    patchifier = Rectangles(freq=freq, time=time)
    grid = patchifier.grid(32, CROP)
    encoder = ViT(dim=16, layers=LAYERS, heads=2).build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    return Reader(
        encoder=encoder,
        patchifier=patchifier,
        grid=grid,
        crop_frames=CROP,
        normaliser=compute_statistics(store, range(2)),
        device=torch.device("cpu"),
    )


SUMMED = ("mean", "mean_std", "concat_freq", "max")


def gathered(blocks):
    """Joins blocks to (rows, owners) of each view."""
    found = list(blocks)
    return {
        view: (
            np.concatenate([block[view].rows for block in found]),
            np.concatenate([block[view].owners for block in found]),
        )
        for view in found[0]
    }


def pooled(reader, store, clips=None, views=VIEWS, **options):
    clips = range(len(store.clips)) if clips is None else clips
    found = gathered(encoder_features(reader, store, clips, views, **options))
    for _, owners in found.values():
        assert owners.tolist() == list(range(len(clips)))
    return {view.word: rows for view, (rows, _) in found.items()}


def slow(reader, store, index):
    """One window of one clip at a time: every layer's tokens, with their row and column."""
    layers, row, column = [], [], []
    batch = cut_windows(store, index, CROP, reader.normaliser)
    for mel, valid_frames in zip(batch.mels, batch.valid_frames, strict=True):
        valid = reader.patchifier.valid(valid_frames.unsqueeze(0), 32)
        packing = pack(valid)
        with torch.no_grad():
            encoded = reader.encoder(reader.patchifier.cut(mel.unsqueeze(0)), packing)
        layers.append([encoded.tokens, *encoded.layers])
        row.append(packing.place // reader.grid.time)
        column.append(packing.place % reader.grid.time + len(column) * reader.grid.time)
    together = [torch.cat(layer) for layer in zip(*layers, strict=True)]
    return together, torch.cat(row), torch.cat(column)


@pytest.mark.parametrize("patch", [(16, 16), (32, 4)])
def test_pooling_agrees_with_one_window_at_a_time(uneven, patch):
    reader = reader_of(uneven, *patch)
    found = pooled(reader, uneven)
    for index in range(len(uneven.clips)):
        (last, *layers), row, _ = slow(reader, uneven, index)
        shown = {"": last, "mean_layers.": torch.stack(layers).mean(dim=0)}
        shown |= {f"layer{number}.": tokens for number, tokens in enumerate(layers, 1)}
        for prefix, tokens in shown.items():
            mean, std = tokens.mean(dim=0), tokens.std(dim=0, correction=0)
            by_row = [tokens[row == r].mean(dim=0) for r in range(reader.grid.freq)]
            expected = {
                "mean": mean,
                "mean_std": torch.cat([mean, std]),
                "concat_freq": torch.cat(by_row),
                "max": tokens.amax(dim=0),
            }
            for pooling, vector in expected.items():
                assert np.allclose(found[prefix + pooling][index], vector, atol=1e-4)


@pytest.mark.parametrize("by_moment", [False, True])
def test_views_that_are_summed_together_are_to_the_bit_what_each_is_alone(uneven, by_moment):
    reader, views = reader_of(uneven), [View(p, n) for n in (None, 1) for p in SUMMED]
    options = {"by_moment": by_moment, "windows_at_once": 3}
    together = gathered(encoder_features(reader, uneven, [1, 2, 4], views, **options))
    for view in views:
        alone = gathered(encoder_features(reader, uneven, [1, 2, 4], [view], **options))[view]
        for here, there in zip(together[view], alone, strict=True):
            assert np.array_equal(here, there)


def test_tokens_are_added_up_once_for_all_poolings_of_a_layer(uneven, monkeypatch):
    reader, doubled = reader_of(uneven), list[int]()
    double = torch.Tensor.double
    monkeypatch.setattr(torch.Tensor, "double", lambda t: doubled.append(len(t)) or double(t))
    views = [View(pooling) for pooling in SUMMED]
    gathered(encoder_features(reader, uneven, [1], views))
    assert len(doubled) == 1


def test_moments_are_the_columns_that_hold_sound(uneven):
    reader, views = reader_of(uneven), [View("concat_freq"), View("mean", 1)]
    found = gathered(
        encoder_features(reader, uneven, [1, 2, 4], views, by_moment=True, windows_at_once=3)
    )
    for place, index in enumerate([1, 2, 4]):
        (last, first, _), row, column = slow(reader, uneven, index)
        for view, tokens in zip(views, (last, first), strict=True):
            rows, owners = found[view]
            mine = rows[owners == place]
            columns = column.unique()
            assert len(mine) == len(columns)
            for moment, c in zip(mine, columns, strict=True):
                here = torch.stack([tokens[(column == c) & (row == r)][0] for r in (0, 1)])
                vector = here.flatten() if view.pooling == "concat_freq" else here.mean(dim=0)
                assert np.allclose(moment, vector, atol=1e-5)


def test_tokens_are_all_there_and_lie_in_the_order_of_time(uneven):
    reader = reader_of(uneven)
    rows, owners = gathered(encoder_features(reader, uneven, [4, 0], [View(TOKENS)]))[View(TOKENS)]
    for place, index in enumerate([4, 0]):
        (last, *_), _, column = slow(reader, uneven, index)
        assert np.allclose(rows[owners == place], last[column.argsort(stable=True)], atol=1e-5)


@settings(max_examples=15)
@given(
    order=st.permutations(range(5)),
    number=st.integers(1, 5),
    at_once=st.integers(1, 40),
    patch=st.sampled_from([(16, 16), (32, 4), (8, 12)]),
)
def test_features_depend_on_no_other_clip_no_order_and_no_batch(
    uneven, order, number, at_once, patch
):
    reader, clips = reader_of(uneven, *patch), order[:number]
    expected = pooled(reader, uneven)
    for word, rows in pooled(reader, uneven, clips, windows_at_once=at_once).items():
        assert np.allclose(rows, expected[word][clips], atol=1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, CROP - 1))
def test_features_do_not_depend_on_what_fills_up_a_window(uneven, seed, frames):
    reader = reader_of(uneven, 32, 4)
    batch = cut_windows(uneven, 1, CROP, reader.normaliser, range(0, CROP, CROP))
    batch.valid_frames[:, frames:] = False
    whole = -(-frames // 4) * 4  # a patch with one real frame is read whole
    filled = torch.randn(batch.mels.shape, generator=torch.Generator().manual_seed(seed))
    encoded, packing = reader.encode(batch)
    batch.mels[:, :, whole:] = 100 * filled[:, :, whole:]
    again, _ = reader.encode(batch)
    assert packing.segments.num_tokens == whole // 4
    assert torch.equal(encoded.tokens, again.tokens)


def test_no_batch_is_larger_than_asked_however_long_a_clip_is(uneven):
    reader = reader_of(uneven)
    sizes: list[int] = []
    hook = reader.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    count = sum(-(-int(length) // CROP) for length in uneven.lengths)
    assert count > 16
    for at_once in (2, 64, 16):
        sizes.clear()
        pooled(reader, uneven, windows_at_once=at_once)
        assert sizes == [at_once] * (count // at_once) + [count % at_once] * (count % at_once > 0)
    hook.remove()


def test_on_strips_concatenating_the_rows_is_the_mean(store):
    found = pooled(reader_of(store, 32, 4), store)
    assert np.array_equal(found["mean"], found["concat_freq"])


def test_a_summary_is_asked_of_an_encoder_that_has_one(store):
    with pytest.raises(ValueError, match="no summary token"):
        pooled(reader_of(store), store, views=[View("summary")])
    with pytest.raises(ValueError, match=r"`layer3\.mean` of an encoder that gives 2 layers"):
        pooled(reader_of(store), store, views=[View("mean", 3)])


def test_mel_statistics_are_two_numbers_per_band_or_every_frame(store):
    views = [View("mean_std"), View(TOKENS)]
    found = gathered(mel_features(store, compute_statistics(store, range(20)), [3, 5], views))
    rows, owners = found[View("mean_std")]
    assert rows.shape == (2, 64)
    assert np.isfinite(rows).all()
    assert owners.tolist() == [0, 1]
    frames, owners = found[View(TOKENS)]
    assert np.bincount(owners).tolist() == store.lengths[[3, 5]].tolist()
    assert np.allclose(frames[owners == 1].mean(axis=0), rows[1, :32], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poolings": ()}, "`poolings` must name one or more"),
        ({"layers": ("last", "last")}, "`layers` must name one or more, each once"),
        ({"poolings": ("summary",), "layers": ("each",)}, "`summary` is the last layer's"),
    ],
)
def test_impossible_views_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Views(**settings)
