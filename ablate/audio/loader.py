"""From stored clips to batches: order and crops drawn from (seed, epoch), normalised, padded.

Nothing here carries state from step to step, and nothing here knows of masks: trials with one
seed hear the same crops in the same order, whatever else differs between them.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from ablate.audio.mel import Normalisation
from ablate.audio.store import ClipStore
from ablate.core.random import derive, generator

Indices = npt.NDArray[np.int64]

_LEAST_STD = 1e-3  # of log-mel units: a constant band stays near zero instead of exploding


@dataclass(frozen=True)
class Normaliser:
    """Subtracts a mean from every mel band, and divides it by a deviation."""

    mean: npt.NDArray[np.float32]  # (bands,)
    std: npt.NDArray[np.float32]  # (bands,)

    def __call__(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalises (..., bands)."""
        return (frames - self.mean) / self.std


@dataclass(frozen=True)
class Batch:
    """Crops of equal length; what lies past a clip's end is zero and marked False."""

    mels: Tensor  # float32 (batch, bands, frames)
    valid_frames: Tensor  # bool (batch, frames)


def compute_statistics(
    store: ClipStore, indices: Sequence[int] | Indices, normalisation: Normalisation = "bands"
) -> Normaliser:
    """Measures mean and deviation over all frames of some clips, or takes those that are given.

    Measured for each band, or one pair over all bands. Raises `ValueError` where there is no clip
    to measure on.
    """
    if isinstance(normalisation, tuple):
        given = np.repeat(np.array([normalisation], dtype=np.float32), store.bands, axis=0)
        return Normaliser(given[:, 0], given[:, 1])
    if len(indices) == 0:
        raise ValueError("no clips to measure mean and deviation on; give at least one")
    count = 0
    total = np.zeros(store.bands)
    squares = np.zeros(store.bands)
    for index in indices:
        frames = store.frames(index).astype(np.float64)
        count += len(frames)
        total += frames.sum(axis=0)
        squares += np.square(frames).sum(axis=0)
    if normalisation == "all":
        total, squares = np.full_like(total, total.mean()), np.full_like(total, squares.mean())
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    std = np.maximum(np.sqrt(variance), _LEAST_STD)
    return Normaliser(mean.astype(np.float32), std.astype(np.float32))


class Loader:
    """Draws the batches of a training run from some clips of a store.

    Each epoch's order is drawn over all of `indices`, and what is in `skip` left out of it:
    loaders that skip different clips draw those that they share in one order, and crop them alike.
    Raises `ValueError` where no clip is left, or crops have no frame.
    """

    def __init__(
        self,
        store: ClipStore,
        indices: Sequence[int] | Indices,
        crop_frames: int,
        normaliser: Normaliser,
        seed: int,
        skip: Collection[int] | Indices = (),
    ) -> None:
        self._indices = np.asarray(indices, dtype=np.int64)
        skipped = np.isin(self._indices, np.fromiter(skip, dtype=np.int64))
        if skipped.all():
            raise ValueError("no clips to train on; give at least one that is not skipped")
        if crop_frames < 1:
            raise ValueError(f"`crop_frames` must be 1 or more, got {crop_frames}")
        self._store = store
        self._left = int((~skipped).sum())  # clips of an epoch
        self._skipped = np.packbits(skipped).tobytes()  # may be a key, unlike an array
        self._crop_frames = crop_frames
        self._normaliser = normaliser
        self._seed = seed

    def batch(self, step: int, size: int) -> Batch:
        """Returns the global batch of a step, `size` crops; it may span the end of an epoch."""
        pieces = []
        for epoch, index in self._drawn(step, size):
            start = self._start(epoch, index)
            pieces.append(self._store.read_frames(index, start, start + self._crop_frames))
        return _batch(pieces, self._crop_frames, self._normaliser)

    def paths(self, step: int, size: int) -> list[str]:
        """Names the clips of a step's batch."""
        return [self._store.clips.paths[index] for _, index in self._drawn(step, size)]

    def _drawn(self, step: int, size: int) -> Iterator[tuple[int, int]]:
        """Yields the epoch and the clip of each place in a batch."""
        clips = len(self._indices)
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, self._left)
            order = _order(self._seed, epoch, clips, self._skipped)
            yield epoch, int(self._indices[order[place]])

    def _start(self, epoch: int, index: int) -> int:
        """Draws where a clip's crop begins, uniformly; a short clip is taken whole."""
        starts = max(0, int(self._store.lengths[index]) - self._crop_frames) + 1
        return derive(self._seed, "crop", epoch, index) % starts


class FrameSource(Protocol):
    """Clips of which frames can be taken: a store, or sound that was just turned into frames."""

    @property
    def lengths(self) -> Sequence[int] | Indices:
        """How many frames each clip has."""

    def read_frames(self, index: int, start: int, stop: int) -> npt.NDArray[np.float16]:
        """Returns frames of one clip as stored, (frames, bands); past its end there are none."""


def cut_windows(
    store: FrameSource,
    index: int,
    crop_frames: int,
    normaliser: Normaliser,
    starts: range | None = None,
) -> Batch:
    """Cuts a clip into consecutive crops, the last one padded, or those at the frames `starts`."""
    if starts is None:
        starts = range(0, int(store.lengths[index]), crop_frames)
    pieces = [store.read_frames(index, start, start + crop_frames) for start in starts]
    return _batch(pieces, crop_frames, normaliser)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int, skipped: bytes) -> Indices:
    """Draws the order of an epoch, less some places; remembered, since every step of it asks."""
    order: Indices = torch.randperm(count, generator=generator(seed, "order", epoch)).numpy()
    left_out = np.unpackbits(np.frombuffer(skipped, dtype=np.uint8), count=count)
    left: Indices = order[left_out[order] == 0]
    return left


def _batch(
    pieces: list[npt.NDArray[np.float16]], crop_frames: int, normaliser: Normaliser
) -> Batch:
    mels = np.zeros((len(pieces), crop_frames, len(normaliser.mean)), dtype=np.float32)
    valid = np.zeros((len(pieces), crop_frames), dtype=np.bool_)
    for row, piece in enumerate(pieces):
        mels[row, : len(piece)] = piece
        valid[row, : len(piece)] = True
    mels = normaliser(mels)
    mels[~valid] = 0
    return Batch(
        mels=rearrange(torch.from_numpy(mels), "batch frames bands -> batch bands frames"),
        valid_frames=torch.from_numpy(valid),
    )
