"""Pooled features of clips of every length, against the slow and obvious way."""

import numpy as np
import pytest
import torch

from ablate.audio.loader import statistics, windows
from ablate.audio.mel import LogMel
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
                tokens.append(encoder(patchifier.cut(mel.unsqueeze(0)), packing))
            rows.extend((packing.place // grid.time).tolist())
        together, row = torch.cat(tokens), torch.tensor(rows)
        mean, std = together.mean(dim=0), together.std(dim=0, correction=0)
        by_row = torch.cat([together[row == r].mean(dim=0) for r in range(grid.freq)])
        assert np.allclose(features["mean"][index], mean, atol=1e-5)
        assert np.allclose(features["mean_std"][index], torch.cat([mean, std]), atol=1e-4)
        assert np.allclose(features["concat_freq"][index], by_row, atol=1e-5)


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
