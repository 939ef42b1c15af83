"""Pooled features of clips of every length, against the slow and obvious way."""

import numpy as np
import pytest
import soundfile
import torch

from ablate.audio.loader import statistics, windows
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.audio.synthetic import Synthetic
from ablate.model.packing import pack
from ablate.model.patchify import Rectangles
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.probing.features import encoder_features, mel_features

CROP = 48


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    corpus = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
    return open_store(corpus, LogMel(bands=32), tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("patch", [(16, 16), (32, 4)])
def test_pooling_agrees_with_one_clip_at_a_time(store, patch):
    patchifier = Rectangles(freq=patch[0], time=patch[1])
    grid = patchifier.grid(32, CROP)
    encoder = ViT(dim=16, layers=1, heads=2).build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    normaliser = statistics(store, range(20))
    features = encoder_features(
        encoder,
        patchifier,
        grid,
        store,
        crop_frames=CROP,
        normaliser=normaliser,
        device=torch.device("cpu"),
    )
    for index in (0, 7, len(store.clips) - 1):
        batch = windows(store, index, CROP, normaliser)
        assert len(batch.mels) > 1
        tokens: list[torch.Tensor] = []
        rows: list[int] = []
        for mel, valid_frames in zip(batch.mels, batch.valid_frames, strict=True):
            valid = patchifier.valid(valid_frames.unsqueeze(0), 32)
            packing = pack(valid)
            with torch.no_grad():
                tokens.append(encoder(patchifier.cut(mel.unsqueeze(0)), packing).tokens)
            rows.extend((packing.place // grid.time).tolist())
        together, row = torch.cat(tokens), torch.tensor(rows)
        mean, std = together.mean(dim=0), together.std(dim=0, correction=0)
        by_row = torch.cat([together[row == r].mean(dim=0) for r in range(grid.freq)])
        assert np.allclose(features["mean"][index], mean, atol=1e-5)
        assert np.allclose(features["mean_std"][index], torch.cat([mean, std]), atol=1e-4)
        assert np.allclose(features["concat_freq"][index], by_row, atol=1e-5)


def test_a_long_clip_spans_batches_of_bounded_size(tmp_path):
    rows = ["path,label,split"]
    for name, seconds in (("a", 0.3), ("b", 8.0), ("c", 0.5), ("d", 0.2)):
        samples = np.random.default_rng(len(rows)).normal(size=int(16000 * seconds)) * 0.1
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
        rows.append(f"{name}.wav,{'xy'[len(rows) % 2]},{('train', 'test')[len(rows) > 2]}")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    folder = Folder(manifest=str(tmp_path / "m.csv"), task="noise")
    long = open_store(folder, LogMel(bands=32), tmp_path / "cache")
    patchifier = Rectangles(freq=16, time=16)
    grid = patchifier.grid(32, CROP)
    encoder = ViT(dim=16, layers=1, heads=2).build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    sizes: list[int] = []
    encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    count = sum(-(-int(length) // CROP) for length in long.lengths)
    assert count > 16
    features = []
    for at_once in (2, 64, 16):
        sizes.clear()
        features.append(
            encoder_features(
                encoder,
                patchifier,
                grid,
                long,
                crop_frames=CROP,
                normaliser=statistics(long, range(4)),
                device=torch.device("cpu"),
                windows_at_once=at_once,
            )
        )
        assert sizes == [at_once] * (count // at_once) + [count % at_once] * (count % at_once > 0)
    for pooling, found in features[0].items():
        assert np.allclose(found, features[1][pooling], atol=1e-5)
        assert np.allclose(found, features[2][pooling], atol=1e-5)


def test_on_strips_concatenating_the_rows_is_the_mean(store):
    patchifier = Rectangles(freq=32, time=4)
    grid = patchifier.grid(32, CROP)
    encoder = ViT(dim=8, layers=1, heads=1).build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    features = encoder_features(
        encoder,
        patchifier,
        grid,
        store,
        crop_frames=CROP,
        normaliser=statistics(store, range(20)),
        device=torch.device("cpu"),
    )
    assert np.array_equal(features["mean"], features["concat_freq"])


def test_mel_statistics_are_two_numbers_per_band(store):
    features = mel_features(store, statistics(store, range(20)))["mean_std"]
    assert features.shape == (len(store.clips), 64)
    assert np.isfinite(features).all()
