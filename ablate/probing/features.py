"""Frozen features: what an encoder makes of whole clips, pooled as each view asks.

Long clips are read in consecutive windows and pooled over all of them; padding is left out.
Features are given out as soon as a clip is complete: neither all clips' tokens nor those of one
long clip are ever held at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.audio.loader import Batch, FrameSource, Normaliser, cut_windows
from ablate.audio.store import ClipStore
from ablate.model.encoder import Encoded, Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack
from ablate.model.patchify import AbstractPatchifier
from ablate.probing.pooling import Sums
from ablate.probing.views import SUMMARY, TOKENS, View

Matrix = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Block:
    """Some rows of features in the order of clips: one a clip, or one a moment or a token."""

    rows: Matrix  # (rows, dim)
    owners: Indices  # (rows,): the place, among the clips asked for, of each row's clip


Blocks = Mapping[View, Block]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A frozen encoder with all that it takes to show it a clip."""

    encoder: Encoder
    patchifier: AbstractPatchifier
    grid: Grid
    crop_frames: int  # of a window
    normaliser: Normaliser
    device: torch.device

    @torch.no_grad()
    def encode(self, batch: Batch) -> tuple[Encoded, Packing]:
        """Encodes windows, (windows, bands, frames), less padding; returns their packing, too."""
        valid = self.patchifier.valid(batch.valid_frames, batch.mels.shape[1])
        packing = pack(valid, self.device)
        return self.encoder(self.patchifier.cut(batch.mels.to(self.device)), packing), packing

    def num_layers(self) -> int:
        """Counts the layers that the encoder gives."""
        silence = torch.zeros(1, len(self.normaliser.mean), self.crop_frames)
        whole = torch.ones(1, self.crop_frames, dtype=torch.bool)
        return len(self.encode(Batch(silence, whole))[0].layers)


@dataclass(frozen=True)
class Heard:
    """The clips of a task as they sound, for a probe that learns through the encoder."""

    reader: Reader
    store: ClipStore
    clips: Indices  # in the store, in the order of the task
    view: View
    seed: int  # of the run whose encoder it is


def encoder_features(
    reader: Reader,
    store: FrameSource,
    clips: Sequence[int],
    views: Iterable[View],
    *,
    by_moment: bool = False,
    windows_at_once: int = WINDOWS_AT_ONCE,
) -> Iterator[Blocks]:
    """Encodes clips of `store` once and gives their features under every view.

    Yields the clips in their order: one row each, (clips, dim); with `by_moment` one for each
    column of the grid that holds a real patch; for `attentive` one for each token. Raises
    `ValueError` for a view that the encoder does not have.
    """
    read = _by_source(views)
    earlier: dict[_Source, Sums] = {}  # of a clip that goes on in the next batch
    for batch, owners, complete in _batches(store, clips, reader, windows_at_once):
        encoded, packing = reader.encode(batch)
        tokens = _Tokens(packing, owners, reader.grid)
        blocks: dict[View, Block] = {}
        for source, some in read.items():
            values = _values(encoded, some[0])
            if source.of == TOKENS:
                blocks[some[0]] = tokens.each(values)
            elif by_moment:
                blocks |= tokens.moments(values, some)
            else:
                sums = tokens.sums(values, some)
                if source in earlier:
                    sums.continue_from(earlier.pop(source))
                ended = len(sums.total) - (not complete)
                if not complete:
                    earlier[source] = sums[ended:]
                clip = np.arange(ended) + int(owners[0])
                blocks |= {v: Block(sums[:ended].pooled(v.pooling), clip) for v in some}
        yield blocks


def mel_features(
    store: ClipStore,
    normaliser: Normaliser,
    clips: Sequence[int],
    views: Iterable[View],
    *,
    by_moment: bool = False,
) -> Iterator[Blocks]:
    """The baseline without a model: mean and deviation over time of each band, (clips, 2 bands).

    Where moments or tokens are asked for, every frame is given as it is.
    """
    for place, index in enumerate(clips):
        mel = normaliser(store.frames(index))
        blocks = {}
        for view in views:
            whole = by_moment or view.pooling == TOKENS
            rows = mel if whole else np.concatenate([mel.mean(axis=0), mel.std(axis=0)])[None]
            blocks[view] = Block(rows.astype(np.float32), np.full(len(rows), place))
        yield blocks


@dataclass(frozen=True)
class _Source:
    """What several views are pooled from, and is summed up once for all of them."""

    layer: int | str | None  # as of a view
    of: str | None  # `summary`, `attentive`, or None: the tokens, added up


def _by_source(views: Iterable[View]) -> dict[_Source, list[View]]:
    found: dict[_Source, list[View]] = {}
    for view in views:
        apart = view.pooling if view.pooling in (SUMMARY, TOKENS) else None
        found.setdefault(_Source(view.layer, apart), []).append(view)
    return found


@dataclass(frozen=True)
class _Tokens:
    """Where the tokens of one batch of windows belong."""

    packing: Packing
    owners: Tensor  # int64 (windows,): the clip of each
    grid: Grid

    @property
    def window(self) -> Tensor:
        return self.packing.owner.cpu()

    @property
    def place(self) -> Tensor:
        return self.packing.place.cpu()

    def sums(self, values: Tensor, views: Sequence[View]) -> Sums:
        """Adds up each clip; clips are numbered from the first of the batch."""
        clip, poolings = self.owners - self.owners[0], [view.pooling for view in views]
        units = int(clip[-1]) + 1
        if SUMMARY in poolings:  # one a window
            row, rows = torch.zeros_like(clip), 1
        else:
            clip, row, rows = clip[self.window], self.place // self.grid.time, self.grid.freq
        return Sums.of(values, clip, row, units=units, rows=rows, poolings=poolings)

    def moments(self, values: Tensor, views: Sequence[View]) -> dict[View, Block]:
        """Pools each column of each window that holds a real patch."""
        columns = self.grid.time
        unit = self.window * columns + self.place % columns
        row = self.place // columns
        units = len(self.owners) * columns
        poolings = [view.pooling for view in views]
        sums = Sums.of(values, unit, row, units=units, rows=self.grid.freq, poolings=poolings)
        real = sums.count.sum(dim=(1, 2)) > 0
        clip = self.owners.repeat_interleave(columns)[real]
        return {v: Block(sums[real].pooled(v.pooling), clip.numpy()) for v in views}

    def each(self, values: Tensor) -> Block:
        """Gives every token, in the order of time within a clip."""
        order = (self.window * self.grid.size + self.place % self.grid.time).argsort(stable=True)
        return Block(values[order].float().numpy(), self.owners[self.window[order]].numpy())


def _values(encoded: Encoded, view: View) -> Tensor:
    if view.pooling == SUMMARY:
        if encoded.summary is None:
            raise ValueError("this encoder has no summary token; take another pooling in `views`")
        return encoded.summary.cpu()
    if view.layer is None:
        return encoded.tokens.cpu()
    if view.layer == "mean":
        return torch.stack(encoded.layers).mean(dim=0).cpu()
    if view.layer > len(encoded.layers):
        raise ValueError(f"`{view.word}` of an encoder that gives {len(encoded.layers)} layers")
    return encoded.layers[view.layer - 1].cpu()


def _batches(
    store: FrameSource, clips: Sequence[int], reader: Reader, at_once: int
) -> Iterator[tuple[Batch, Tensor, bool]]:
    """Yields `at_once` windows of consecutive clips, the clip of each, and if the last one ends.

    The last windows are fewer. A clip may span batches: an hour of sound is no larger a batch.
    """
    held: list[tuple[Batch, int]] = []  # some windows of a clip, and its place
    room = at_once
    for place, index in enumerate(clips):
        starts = range(0, int(store.lengths[index]), reader.crop_frames)
        while starts:
            now, starts = starts[:room], starts[room:]
            held.append(
                (cut_windows(store, index, reader.crop_frames, reader.normaliser, now), place)
            )
            room -= len(now)
            if room == 0:
                yield _together(held, complete=not starts)
                held, room = [], at_once
    if held:
        yield _together(held, complete=True)


def _together(held: Sequence[tuple[Batch, int]], *, complete: bool) -> tuple[Batch, Tensor, bool]:
    mels = torch.cat([batch.mels for batch, _ in held])
    valid_frames = torch.cat([batch.valid_frames for batch, _ in held])
    owners = torch.cat([torch.full((len(batch.mels),), place) for batch, place in held])
    return Batch(mels, valid_frames), owners, complete
