"""Features of clips of every length, against a encode_by_window reference implementation."""

import functools
import itertools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.audio.loader import Batch, compute_statistics, cut_windows
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.audio.synthetic import Synthetic
from ablate.model.packing import pack
from ablate.model.patchify import Rectangles
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.probing.features import FeatureExtractor, extract_features
from ablate.probing.mel_statistics import compute_mel_features, compute_modulation
from ablate.probing.views import TOKENS, View, Views

CROP = 48
LAYERS = 2
VIEWS = Views(
    poolings=("mean", "mean_std", "concat_freq", "max", "deltas", "segments4", "segments4_freq"),
    layers=("last", "mean", "each"),
).expand(LAYERS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    corpus = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
    return open_store(corpus, LogMel(bands=32), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Returns a store of clips from a fraction of a window to many windows."""
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
def get_extractor(store, freq=16, time=16):
    patchifier = Rectangles(freq=freq, time=time)
    grid = patchifier.grid(32, CROP)
    encoder = ViT(dim=16, layers=LAYERS, heads=2).build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    return FeatureExtractor(
        encoder=encoder,
        patchifier=patchifier,
        grid=grid,
        crop_frames=CROP,
        normaliser=compute_statistics(store, range(2)),
        device=torch.device("cpu"),
    )


SUMMED = ("mean", "mean_std", "concat_freq", "max", "deltas", "segments2")
OF_MOMENTS = SUMMED[:4]


def join(batches):
    """Concatenates batches of features to (rows, owners) per view."""
    batches = list(batches)
    return {
        view: (
            np.concatenate([batch[view].rows for batch in batches]),
            np.concatenate([batch[view].owners for batch in batches]),
        )
        for view in batches[0]
    }


def extract(extractor, store, clips=None, views=VIEWS, **options):
    clips = range(len(store.clips)) if clips is None else clips
    features = join(extract_features(extractor, store, clips, views, **options))
    for _, owners in features.values():
        assert owners.tolist() == list(range(len(clips)))
    return {view.name: rows for view, (rows, _) in features.items()}


def encode_by_window(extractor, store, index):
    """Encodes one window at a time; returns every layer's tokens, with their row and column."""
    layers, row, column = [], [], []
    batch = cut_windows(store, index, CROP, extractor.normaliser)
    for mel, valid_frames in zip(batch.mels, batch.valid_frames, strict=True):
        valid = extractor.patchifier.valid(valid_frames.unsqueeze(0), 32)
        packing = pack(valid)
        with torch.no_grad():
            encoded = extractor.encoder(extractor.patchifier.cut(mel.unsqueeze(0)), packing)
        layers.append([encoded.tokens, *encoded.layers])
        row.append(packing.place // extractor.grid.time)
        column.append(packing.place % extractor.grid.time + len(column) * extractor.grid.time)
    joined = [torch.cat(layer) for layer in zip(*layers, strict=True)]
    return joined, torch.cat(row), torch.cat(column)


def pool_deltas(tokens, row, column, columns_per_window):
    """Pools with a dictionary of tokens by their place; differences stay within a window."""
    at = {(int(r), int(c)): token for r, c, token in zip(row, column, tokens, strict=True)}
    first = {
        (r, c): at[r, c] - at[r, c - 1]
        for r, c in at
        if (r, c - 1) in at and c % columns_per_window != 0
    }
    second = [first[r, c] - first[r, c - 1] for r, c in first if (r, c - 1) in first]
    deviations = [
        torch.stack(values).std(dim=0, correction=0) if values else torch.zeros(tokens.shape[1])
        for values in ([*first.values()], second)
    ]
    return torch.cat([tokens.mean(dim=0), tokens.std(dim=0, correction=0), *deviations])


def pool_segments(tokens, column, number, row=None, rows=1):
    pooled, columns = [], column.tolist()
    row = [0] * len(columns) if row is None else row.tolist()
    for segment, chosen in itertools.product(range(number), range(rows)):
        inside = [
            token
            for token, c, r in zip(tokens, columns, row, strict=True)
            if int(c * number / (max(columns) + 1)) == segment and r == chosen
        ]
        stacked = torch.stack(inside) if inside else torch.zeros(1, tokens.shape[1])
        pooled += [stacked.mean(dim=0), stacked.std(dim=0, correction=0)]
    return torch.cat(pooled)


@pytest.mark.parametrize("patch", [(16, 16), (32, 4)])
def test_pooling_agrees_with_encoding_one_window_at_a_time(uneven, patch):
    extractor = get_extractor(uneven, *patch)
    features = extract(extractor, uneven)
    for index in range(len(uneven.clips)):
        (last, *layers), row, column = encode_by_window(extractor, uneven, index)
        layer_tokens = {"": last, "mean_layers.": torch.stack(layers).mean(dim=0)}
        layer_tokens |= {f"layer{number}.": tokens for number, tokens in enumerate(layers, 1)}
        for prefix, tokens in layer_tokens.items():
            mean, std = tokens.mean(dim=0), tokens.std(dim=0, correction=0)
            by_row = [tokens[row == r].mean(dim=0) for r in range(extractor.grid.freq)]
            expected = {
                "mean": mean,
                "mean_std": torch.cat([mean, std]),
                "concat_freq": torch.cat(by_row),
                "max": tokens.amax(dim=0),
                "deltas": pool_deltas(tokens, row, column, extractor.grid.time),
                "segments4": pool_segments(tokens, column, 4),
                "segments4_freq": pool_segments(tokens, column, 4, row, extractor.grid.freq),
            }
            for pooling, vector in expected.items():
                assert np.allclose(features[prefix + pooling][index], vector, atol=1e-4)


@pytest.mark.parametrize("by_moment", [False, True])
def test_views_computed_together_equal_each_view_alone_bit_for_bit(uneven, by_moment):
    poolings = OF_MOMENTS if by_moment else SUMMED
    extractor, views = get_extractor(uneven), [View(p, n) for n in (None, 1) for p in poolings]
    options = {"by_moment": by_moment, "windows_at_once": 3}
    joint = join(extract_features(extractor, uneven, [1, 2, 4], views, **options))
    for view in views:
        alone = join(extract_features(extractor, uneven, [1, 2, 4], [view], **options))[view]
        for expected, actual in zip(joint[view], alone, strict=True):
            assert np.array_equal(expected, actual)


def test_tokens_are_summed_once_for_all_poolings_of_a_layer(uneven, monkeypatch):
    extractor, doubled = get_extractor(uneven), list[int]()
    double = torch.Tensor.double
    monkeypatch.setattr(torch.Tensor, "double", lambda t: doubled.append(len(t)) or double(t))
    views = [View(pooling) for pooling in SUMMED]
    join(extract_features(extractor, uneven, [1], views))
    assert len(doubled) == 1


def test_moments_are_the_columns_with_a_valid_patch(uneven):
    extractor, views = get_extractor(uneven), [View("concat_freq"), View("mean", 1)]
    features = join(
        extract_features(extractor, uneven, [1, 2, 4], views, by_moment=True, windows_at_once=3)
    )
    for place, index in enumerate([1, 2, 4]):
        (last, first, _), row, column = encode_by_window(extractor, uneven, index)
        for view, tokens in zip(views, (last, first), strict=True):
            rows, owners = features[view]
            moments = rows[owners == place]
            columns = column.unique()
            assert len(moments) == len(columns)
            for moment, c in zip(moments, columns, strict=True):
                rows = torch.stack([tokens[(column == c) & (row == r)][0] for r in (0, 1)])
                vector = rows.flatten() if view.pooling == "concat_freq" else rows.mean(dim=0)
                assert np.allclose(moment, vector, atol=1e-5)


def test_all_tokens_are_returned_in_the_order_of_time(uneven):
    extractor = get_extractor(uneven)
    rows, owners = join(extract_features(extractor, uneven, [4, 0], [View(TOKENS)]))[View(TOKENS)]
    for place, index in enumerate([4, 0]):
        (last, *_), _, column = encode_by_window(extractor, uneven, index)
        assert np.allclose(rows[owners == place], last[column.argsort(stable=True)], atol=1e-5)


@settings(max_examples=15)
@given(
    order=st.permutations(range(5)),
    number=st.integers(1, 5),
    at_once=st.integers(1, 40),
    patch=st.sampled_from([(16, 16), (32, 4), (8, 12)]),
)
def test_features_do_not_depend_on_other_clips_order_or_batch_size(
    uneven, order, number, at_once, patch
):
    extractor, clips = get_extractor(uneven, *patch), order[:number]
    expected = extract(extractor, uneven)
    for name, rows in extract(extractor, uneven, clips, windows_at_once=at_once).items():
        assert np.allclose(rows, expected[name][clips], atol=1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, CROP - 1))
def test_features_do_not_depend_on_padding(uneven, seed, frames):
    extractor = get_extractor(uneven, 32, 4)
    stored = cut_windows(uneven, 1, CROP, extractor.normaliser, range(0, CROP, CROP))
    batch = Batch(stored.mels, stored.valid_frames)
    batch.valid_frames[:, frames:] = False
    end = -(-frames // 4) * 4  # a patch with one valid frame is used entirely
    noise = torch.randn(batch.mels.shape, generator=torch.Generator().manual_seed(seed))
    encoded, packing = extractor.encode(batch)
    batch.mels[:, :, end:] = 100 * noise[:, :, end:]
    again, _ = extractor.encode(batch)
    assert packing.segments.num_tokens == end // 4
    assert torch.equal(encoded.tokens, again.tokens)


def test_no_batch_is_larger_than_requested_even_for_long_clips(uneven):
    extractor = get_extractor(uneven)
    sizes: list[int] = []
    hook = extractor.encoder.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]))
    )
    count = sum(-(-int(length) // CROP) for length in uneven.lengths)
    assert count > 16
    for at_once in (2, 64, 16):
        sizes.clear()
        extract(extractor, uneven, windows_at_once=at_once)
        assert sizes == [at_once] * (count // at_once) + [count % at_once] * (count % at_once > 0)
    hook.remove()


def test_with_full_height_patches_concatenating_rows_is_the_mean(store):
    features = extract(get_extractor(store, 32, 4), store)
    assert np.array_equal(features["mean"], features["concat_freq"])
    assert np.array_equal(features["segments4"], features["segments4_freq"])


def test_a_view_that_the_encoder_does_not_have_raises(store):
    with pytest.raises(ValueError, match="no summary token"):
        extract(get_extractor(store), store, views=[View("summary")])
    with pytest.raises(ValueError, match=r"no view `layer3\.mean`: the encoder has 2 layers"):
        extract(get_extractor(store), store, views=[View("mean", 3)])


def test_log_mels_are_pooled_as_tokens_are_with_a_frame_as_one_token(store):
    views = [View(pooling) for pooling in ("mean", "concat_freq", "max", "deltas", "segments4")]
    normaliser = compute_statistics(store, range(20))
    features = join(compute_mel_features(store, normaliser, [3, 5], views))
    for place, index in enumerate([3, 5]):
        mel = torch.from_numpy(normaliser(store.frames(index)))
        column = torch.arange(len(mel))
        expected = {
            "mean": mel.mean(dim=0),
            "concat_freq": mel.mean(dim=0),
            "max": mel.amax(dim=0),
            "deltas": pool_deltas(mel, torch.zeros_like(column), column, len(mel)),
            "segments4": pool_segments(mel, column, 4),
        }
        for view in views:
            assert np.allclose(features[view][0][place], expected[view.pooling], atol=1e-4), view


@settings(max_examples=20)
@given(frames=st.integers(60, 400), cycles=st.integers(1, 16), mean=st.floats(-2, 2))
def test_the_modulation_spectrum_is_largest_at_the_frequency_of_a_sine(frames, cycles, mean):
    sine = mean + np.sin(2 * np.pi * cycles * np.arange(frames) / 100)
    mel = np.stack([sine, np.full(frames, mean)], axis=1).astype(np.float32)
    spectrum = compute_modulation(mel).reshape(17, 2)
    assert np.allclose(spectrum[0], mel.mean(axis=0), atol=1e-5)
    assert abs(spectrum[1:, 0].argmax() + 1 - cycles) <= 1
    assert np.allclose(spectrum[1:, 1], 0, atol=1e-5)


def test_mel_features_are_two_numbers_per_band_or_every_frame(store):
    views = [View("mean_std"), View(TOKENS)]
    features = join(
        compute_mel_features(store, compute_statistics(store, range(20)), [3, 5], views)
    )
    rows, owners = features[View("mean_std")]
    assert rows.shape == (2, 64)
    assert np.isfinite(rows).all()
    assert owners.tolist() == [0, 1]
    frames, owners = features[View(TOKENS)]
    assert np.bincount(owners).tolist() == store.lengths[[3, 5]].tolist()
    assert np.allclose(frames[owners == 1].mean(axis=0), rows[1, :32], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poolings": ()}, "`poolings` must name one or more"),
        ({"layers": ("last", "last")}, "`layers` must name one or more, each once"),
        (
            {"poolings": ("summary",), "layers": ("each",)},
            "`summary` exists only in the last",
        ),
    ],
)
def test_invalid_views_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Views(**settings)
