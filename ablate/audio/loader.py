"""Loads training batches from a clip store: clip order, crops, normalisation, padding.

Order and crops depend only on (seed, epoch), not on earlier steps or on masks: trials with the
same seed train on the same crops in the same order, whatever else differs between them.
"""

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from ablate.audio.front_end import Normalisation
from ablate.audio.store import ClipStore
from ablate.core.device import on_device
from ablate.core.random import derive, generator

Indices = npt.NDArray[np.int64]

_MIN_STD = 1e-3  # in log-mel units; keeps a constant band near zero after division


@dataclass(frozen=True)
class Normaliser:
    """Normalises frames: subtracts the mean of each mel band and divides by its deviation."""

    mean: npt.NDArray[np.float32]  # (bands,)
    std: npt.NDArray[np.float32]  # (bands,)

    @classmethod
    def identity(cls, bands: int) -> "Normaliser":
        """Returns a normaliser that changes nothing."""
        return cls(np.zeros(bands, dtype=np.float32), np.ones(bands, dtype=np.float32))

    def __call__(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the normalised frames, (..., bands)."""
        return (frames - self.mean) / self.std


@dataclass(frozen=True)
class Batch:
    """Crops of equal length, on the CPU. Frames past a clip's end are not valid.

    Attributes:
        frames: `(batch, bands, frames)`, as they are stored: float16 if there is a normaliser,
            otherwise normalised float32.
        valid_frames: bool `(batch, frames)`.
        normaliser: Still to be applied to the frames. Half as many bytes are copied to a GPU, and
            it normalises far faster than the CPU.
    """

    frames: Tensor
    valid_frames: Tensor
    normaliser: Normaliser | None = None

    @property
    def bands(self) -> int:
        """Number of mel bands."""
        return self.frames.shape[1]

    @property
    def mels(self) -> Tensor:
        """The normalised frames, float32 `(batch, bands, frames)`; those not valid are zero."""
        return self.mels_on(torch.device("cpu"))

    def mels_on(self, device: torch.device) -> Tensor:
        """Returns the normalised frames on a device; the CPU does not wait for a GPU."""
        frames = on_device(self.frames, device)
        if self.normaliser is None:
            return frames
        mean, std = (
            on_device(torch.from_numpy(values), device).view(1, -1, 1)
            for values in (self.normaliser.mean, self.normaliser.std)
        )
        padding = ~on_device(self.valid_frames, device).unsqueeze(1)
        return frames.float().sub_(mean).div_(std).masked_fill_(padding, 0)

    def pin_memory(self) -> "Batch":
        """Returns a copy in page-locked memory, for asynchronous copies to a GPU."""
        return replace(
            self, frames=self.frames.pin_memory(), valid_frames=self.valid_frames.pin_memory()
        )

    @classmethod
    def concatenate(cls, batches: Sequence["Batch"]) -> "Batch":
        """Joins one or more batches of equal crops and with the same normaliser."""
        frames = torch.cat([batch.frames for batch in batches])
        valid_frames = torch.cat([batch.valid_frames for batch in batches])
        return cls(frames, valid_frames, batches[0].normaliser)

    def __getitem__(self, clips: slice) -> "Batch":
        return replace(self, frames=self.frames[clips], valid_frames=self.valid_frames[clips])


def compute_statistics(
    store: ClipStore, indices: Sequence[int] | Indices, normalisation: Normalisation = "bands"
) -> Normaliser:
    """Computes the mean and standard deviation of all frames of the clips.

    Args:
        store: the clips.
        indices: the clips to measure.
        normalisation: `bands` measures each mel band, `all` one pair over all bands; a pair
            (mean, deviation) is used as it is.

    Raises:
        ValueError: if `indices` is empty and something has to be measured.
    """
    if isinstance(normalisation, tuple):
        pairs = np.repeat(np.array([normalisation], dtype=np.float32), store.bands, axis=0)
        return Normaliser(pairs[:, 0], pairs[:, 1])
    if len(indices) == 0:
        raise ValueError("no clips to measure mean and deviation on; pass at least one")
    count = 0
    total = np.zeros(store.bands)
    squares = np.zeros(store.bands)
    for index in indices:
        for piece in store.iterate_frames(index):
            frames = piece.astype(np.float64)
            count += len(frames)
            total += frames.sum(axis=0)
            squares += np.square(frames).sum(axis=0)
    if normalisation == "all":
        total, squares = np.full_like(total, total.mean()), np.full_like(total, squares.mean())
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    std = np.maximum(np.sqrt(variance), _MIN_STD)
    return Normaliser(mean.astype(np.float32), std.astype(np.float32))


class Loader:
    """Loads the batches of a training run.

    Each epoch's order is drawn over all of `indices`, then the clips in `skip` are removed: loaders
    that skip different clips load the others in the same order, with the same crops.

    Args:
        store: the clips.
        indices: the clips to train on.
        crop_frames: the length of a crop, in frames.
        normaliser: applied to each crop.
        seed: the seed of the trial.
        skip: clips among `indices` that are not loaded.

    Raises:
        ValueError: if no clip is left, or `crop_frames` is below 1.
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
        self._num_clips = int((~skipped).sum())  # per epoch
        self._skipped = np.packbits(skipped).tobytes()  # bytes, unlike an array, are hashable
        self._crop_frames = crop_frames
        self._normaliser = normaliser
        self._seed = seed

    def batch(self, step: int, size: int) -> Batch:
        """Returns the global batch of a step, `size` crops; it may span the end of an epoch."""
        pieces = []
        for epoch, index in self._draw_clips(step, size):
            start = self._draw_start(epoch, index)
            pieces.append(self._store.read_frames(index, start, start + self._crop_frames))
        return stack_crops(pieces, self._crop_frames, self._normaliser)

    def paths(self, step: int, size: int) -> list[str]:
        """Returns the paths of the clips in a step's batch."""
        return [self._store.clips.paths[index] for _, index in self._draw_clips(step, size)]

    def _draw_clips(self, step: int, size: int) -> Iterator[tuple[int, int]]:
        """Yields (epoch, clip index) for each position of a batch."""
        clips = len(self._indices)
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, self._num_clips)
            order = _order(self._seed, epoch, clips, self._skipped)
            yield epoch, int(self._indices[order[place]])

    def _draw_start(self, epoch: int, index: int) -> int:
        """Draws the first frame of a clip's crop, uniformly; 0 for a clip shorter than a crop."""
        starts = max(0, int(self._store.lengths[index]) - self._crop_frames) + 1
        return derive(self._seed, "crop", epoch, index) % starts


class FrameSource(Protocol):
    """Anything that frames of clips can be read from: a clip store, or frames in memory."""

    @property
    def lengths(self) -> Sequence[int] | Indices:
        """The number of frames of each clip."""

    def read_frames(self, index: int, start: int, stop: int) -> npt.NDArray[np.float16]:
        """Returns the frames `start` to `stop` of a clip, (frames, bands), not normalised.

        Fewer frames are returned if the clip ends before `stop`.
        """


def cut_windows(
    store: FrameSource,
    index: int,
    crop_frames: int,
    normaliser: Normaliser,
    starts: range | None = None,
) -> Batch:
    """Cuts a clip into consecutive crops of `crop_frames`, or into those that start at `starts`.

    The last one is padded.
    """
    if starts is None:
        starts = range(0, int(store.lengths[index]), crop_frames)
    pieces = [store.read_frames(index, start, start + crop_frames) for start in starts]
    return stack_crops(pieces, crop_frames, normaliser)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int, skipped: bytes) -> Indices:
    """Draws the order of an epoch without the skipped positions; cached for all its steps."""
    order: Indices = torch.randperm(count, generator=generator(seed, "order", epoch)).numpy()
    is_skipped = np.unpackbits(np.frombuffer(skipped, dtype=np.uint8), count=count)
    kept: Indices = order[is_skipped[order] == 0]
    return kept


def stack_crops(
    pieces: Sequence[npt.NDArray[np.float16]], crop_frames: int, normaliser: Normaliser
) -> Batch:
    """Stacks pieces of clips, each (frames, bands), to crops of `crop_frames`.

    A piece that is shorter is padded.
    """
    stacked = np.empty((len(pieces), crop_frames, len(normaliser.mean)), dtype=np.float16)
    lengths = np.array([len(piece) for piece in pieces])
    for row, piece in zip(stacked, pieces, strict=True):
        row[: len(piece)] = piece
        row[len(piece) :] = 0
    frames = rearrange(torch.from_numpy(stacked), "batch frames bands -> batch bands frames")
    valid_frames = torch.from_numpy(np.arange(crop_frames) < lengths[:, None])
    return Batch(frames, valid_frames, normaliser)
