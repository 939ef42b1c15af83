"""Frozen features: what an encoder makes of whole clips, pooled to one vector per clip.

Long clips are read in consecutive windows and pooled over all of them; padding is left out.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.audio.loader import Batch, Normaliser, windows
from ablate.audio.store import ClipStore
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import pack
from ablate.model.patchify import AbstractPatchifier

Pooling = Literal["mean", "mean_std", "concat_freq"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
Features = dict[Pooling, npt.NDArray[np.float32]]  # each (clips, dim)

WINDOWS_AT_ONCE = 64


@torch.no_grad()
def encoder_features(
    encoder: Encoder,
    patchifier: AbstractPatchifier,
    grid: Grid,
    store: ClipStore,
    *,
    crop_frames: int,
    normaliser: Normaliser,
    device: torch.device,
    windows_at_once: int = WINDOWS_AT_ONCE,
) -> Features:
    """Encodes every clip of `store` and pools its tokens three ways.

    `mean` over all tokens; `mean_std` adds their standard deviation; `concat_freq` takes the
    mean over time in each row of the grid and joins the rows, as M2D does
    (https://arxiv.org/abs/2210.14648): averaging the rows loses what tells pitches apart.
    """
    clips, dim = len(store.clips), encoder.dim
    sums = torch.zeros(clips * grid.freq, dim, dtype=torch.float64)
    squares = torch.zeros(clips, dim, dtype=torch.float64)
    counts = torch.zeros(clips * grid.freq, 1, dtype=torch.float64)
    for batch, owners in _batches(store, crop_frames, normaliser, windows_at_once):
        packing = pack(patchifier.valid(batch.valid_frames, batch.mels.shape[1]), device)
        encoded = encoder(patchifier.cut(batch.mels.to(device)), packing)
        tokens = encoded.tokens.double().cpu()
        owner = owners[packing.owner.cpu()]
        cell = owner * grid.freq + packing.place.cpu() // grid.time
        sums.index_add_(0, cell, tokens)
        squares.index_add_(0, owner, tokens.square())
        counts.index_add_(0, cell, torch.ones(len(cell), 1, dtype=torch.float64))
    rows = (sums / counts).view(clips, -1)
    count = counts.view(clips, grid.freq, 1).sum(dim=1)
    mean = sums.view(clips, grid.freq, dim).sum(dim=1) / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    return {
        "mean": _numbers(mean),
        "mean_std": _numbers(torch.cat([mean, std], dim=1)),
        "concat_freq": _numbers(rows),
    }


def mel_features(store: ClipStore, normaliser: Normaliser) -> Features:
    """The baseline without a model: mean and deviation over time of each log-mel band."""
    mels = [normaliser(store.frames(index)) for index in range(len(store.clips))]
    pooled = [np.concatenate([mel.mean(axis=0), mel.std(axis=0)]) for mel in mels]
    return {"mean_std": np.stack(pooled).astype(np.float32)}


def _batches(
    store: ClipStore, crop_frames: int, normaliser: Normaliser, at_once: int
) -> Iterator[tuple[Batch, Tensor]]:
    """Yields `at_once` windows of consecutive clips, with the clip that each belongs to.

    The last windows are fewer. A clip may span batches: an hour of sound is no larger a batch.
    """
    held: list[tuple[Tensor, Tensor, int]] = []  # mel, its valid frames, its clip
    for index in range(len(store.clips)):
        clip = windows(store, index, crop_frames, normaliser)
        for mel, valid_frames in zip(clip.mels, clip.valid_frames, strict=True):
            held.append((mel, valid_frames, index))
            if len(held) >= at_once:
                yield _together(held)
                held = []
    if held:
        yield _together(held)


def _together(held: Sequence[tuple[Tensor, Tensor, int]]) -> tuple[Batch, Tensor]:
    mels, valid_frames, owners = zip(*held, strict=True)
    return Batch(torch.stack(mels), torch.stack(valid_frames)), torch.tensor(owners)


def _numbers(values: Tensor) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = values.float().numpy()
    return numbers
