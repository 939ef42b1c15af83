"""Extracts features of whole clips from a frozen encoder, pooled as each view requires.

Long clips are encoded in consecutive windows and pooled over all of them; padding is excluded.
Features are yielded as soon as a clip is complete: neither all tokens of all clips nor those of
one long clip are in memory at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.audio.loader import Batch, FrameSource, Normaliser, cut_windows
from ablate.audio.store import ClipStore
from ablate.core.device import on_device
from ablate.model.encoder import Encoded, Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack
from ablate.model.patchify import AbstractPatchifier
from ablate.model.precision import Precision, autocast
from ablate.probing.columns import ClipColumns
from ablate.probing.pooling import ORDERED, Sums, TokenOrder
from ablate.probing.views import SUMMARY, TOKENS, View

Matrix = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features in the order of clips: one row per clip, moment or token."""

    rows: Matrix  # (rows, dim)
    owners: Indices  # (rows,), position of each row's clip among the requested clips


RowsByView = Mapping[View, FeatureRows]


@dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
    """A frozen encoder with everything that is needed to encode a clip."""

    encoder: Encoder
    patchifier: AbstractPatchifier
    grid: Grid
    crop_frames: int  # length of a window
    normaliser: Normaliser
    device: torch.device
    precision: Precision = "fp32"  # on a GPU; a CPU always computes in fp32
    # from the start of a window to that of the next; None: windows follow each other
    window_step: int | None = None

    @torch.no_grad()
    def encode(self, batch: Batch) -> tuple[Encoded, Packing]:
        """Encodes windows (windows, bands, frames) without their padding; returns the packing."""
        valid = self.patchifier.valid(batch.valid_frames, batch.bands)
        packing = pack(valid, self.device)
        with self.autocast():
            return self.encoder(self.patchifier.cut(batch.mels_on(self.device)), packing), packing

    def autocast(self) -> torch.autocast:
        """Returns the context in which the encoder computes in the extractor's precision."""
        return autocast("fp32" if self.device.type == "cpu" else self.precision, self.device)

    def locate_columns(self, lengths: Sequence[int]) -> ClipColumns:
        """Returns where the columns of clips lie, of which `lengths` are the numbers of frames."""
        return ClipColumns(
            patchifier=self.patchifier,
            grid=self.grid,
            bands=len(self.normaliser.mean),
            crop_frames=self.crop_frames,
            window_step=self.window_step or self.crop_frames,
            lengths=lengths,
        )

    def count_layers(self) -> int:
        """Counts the layers whose outputs the encoder returns."""
        silence = torch.zeros(1, len(self.normaliser.mean), self.crop_frames)
        valid = torch.ones(1, self.crop_frames, dtype=torch.bool)
        return len(self.encode(Batch(silence, valid))[0].layers)

    def get_layer_shape(self, view: View) -> tuple[int, int] | None:
        """Returns number and width of the layers that lie side by side in a view's features."""
        return (self.count_layers(), self.encoder.dim) if view.layer == "concat" else None


@dataclass(frozen=True)
class RawClips:
    """The clips of a task as log-mels, for a probe that trains the encoder itself."""

    extractor: FeatureExtractor
    store: ClipStore
    clips: Indices  # clips of the store, in the order of the task
    view: View
    seed: int  # seed of the run that trained the encoder


def extract_features(
    extractor: FeatureExtractor,
    store: FrameSource,
    clips: Sequence[int],
    views: Iterable[View],
    *,
    by_moment: bool = False,
    windows_at_once: int = WINDOWS_AT_ONCE,
) -> Iterator[RowsByView]:
    """Encodes each clip once and yields its features under every view, in the order of the clips.

    Args:
        extractor: The frozen encoder.
        store: The frames of the clips.
        clips: Clips of the store.
        views: The views to compute.
        by_moment: Whether to return one row per moment (a column of the grid with at least one
            valid patch) instead of one row per clip.
        windows_at_once: Maximum number of windows per batch.

    Yields:
        Rows (clips, dim) per view; with the pooling `attentive` one row per token.

    Raises:
        ValueError: The encoder does not have a view: no summary token, or too few layers.
    """
    sources = _group_by_source(views)
    columns = None
    if any(view.pooling in ORDERED for group in sources.values() for view in group):
        lengths = [int(store.lengths[clip]) for clip in clips]
        columns = extractor.locate_columns(lengths)
    earlier: dict[_Source, Sums] = {}  # sums of a clip that continues in the next batch
    for batch, owners, numbers, complete in _batches(store, clips, extractor, windows_at_once):
        encoded, packing = extractor.encode(batch)
        tokens = LocatedTokens.locate(packing, owners, extractor.grid)
        order = None if columns is None else tokens.find_order(numbers, columns)
        rows: dict[View, FeatureRows] = {}
        for source, group in sources.items():
            values = _get_values(encoded, group[0])
            if source.special == TOKENS:
                rows[group[0]] = tokens.list_tokens(values)
            elif by_moment:
                rows |= tokens.pool_moments(values, group)
            else:
                sums = tokens.sum_clips(values, group, int(owners[-1] - owners[0]) + 1, order)
                if source in earlier:
                    sums.add_to_first(earlier.pop(source))
                ended = len(sums.total) - (not complete)
                if not complete:
                    earlier[source] = sums[ended:]
                clip = np.arange(ended) + int(owners[0])
                rows |= {v: FeatureRows(sums[:ended].pool(v.pooling), clip) for v in group}
        yield rows


@dataclass(frozen=True)
class _Source:
    """The values from which several views are pooled; they are summed once for all views."""

    layer: int | str | None  # as in `View`
    special: str | None  # `summary`, `attentive`, or None for the sums of tokens


def _group_by_source(views: Iterable[View]) -> dict[_Source, list[View]]:
    groups: dict[_Source, list[View]] = {}
    for view in views:
        special = view.pooling if view.pooling in (SUMMARY, TOKENS) else None
        groups.setdefault(_Source(view.layer, special), []).append(view)
    return groups


@dataclass(frozen=True)
class LocatedTokens:
    """Clip, grid row and grid column of the tokens of one batch of windows, on the device."""

    packing: Packing
    owners: Tensor  # int64 (windows,), the clip of each window
    grid: Grid

    @classmethod
    def locate(cls, packing: Packing, owners: Tensor, grid: Grid) -> "LocatedTokens":
        return cls(packing, on_device(owners, packing.owner.device), grid)

    def find_order(self, numbers: Tensor, columns: ClipColumns) -> TokenOrder:
        """Finds where the tokens lie in time; `numbers` count the windows of each clip."""
        window, place, time = self.packing.owner, self.packing.place, self.grid.time
        follows = torch.zeros_like(window, dtype=torch.bool)
        follows[1:] = (window.diff() == 0) & (place.diff() == 1) & (place[1:] % time != 0)
        counts = on_device(columns.count(self.owners.tolist()), window.device)
        column = on_device(numbers, window.device)[window] * time + place % time
        return TokenOrder(column, counts[window], follows)

    def sum_clips(
        self, values: Tensor, views: Sequence[View], units: int, order: TokenOrder | None = None
    ) -> Sums:
        """Sums the values of each of `units` clips, numbered from the first one of the batch."""
        clip, poolings = self.owners - self.owners[0], [view.pooling for view in views]
        if SUMMARY in poolings:  # one value per window
            row, rows = torch.zeros_like(clip), 1
        else:
            clip, row = clip[self.packing.owner], self.packing.place // self.grid.time
            rows = self.grid.freq
        return Sums.compute(
            values, clip, row, units=units, rows=rows, poolings=poolings, order=order
        )

    def pool_moments(self, values: Tensor, views: Sequence[View]) -> dict[View, FeatureRows]:
        """Pools each column of each window that holds a valid patch."""
        columns, place = self.grid.time, self.packing.place
        unit, row = self.packing.owner * columns + place % columns, place // columns
        units = len(self.owners) * columns
        poolings = [view.pooling for view in views]
        sums = Sums.compute(values, unit, row, units=units, rows=self.grid.freq, poolings=poolings)
        valid = sums.count.sum(dim=(1, 2)) > 0
        clip = self.owners.repeat_interleave(columns)[valid].cpu().numpy()
        return {v: FeatureRows(sums[valid].pool(v.pooling), clip) for v in views}

    def list_tokens(self, values: Tensor) -> FeatureRows:
        """Lists every token, in the order of time within a clip."""
        window, place = self.packing.owner, self.packing.place
        order = (window * self.grid.size + place % self.grid.time).argsort(stable=True)
        clip = self.owners[window[order]]
        return FeatureRows(values[order].float().cpu().numpy(), clip.cpu().numpy())


def _get_values(encoded: Encoded, view: View) -> Tensor:
    if view.pooling == SUMMARY:
        if encoded.summary is None:
            raise ValueError("this encoder has no summary token; use another pooling in `views`")
        return encoded.summary
    if view.layer is None:
        return encoded.tokens
    if view.layer == "mean":
        return torch.stack(encoded.layers).mean(dim=0)
    if view.layer == "concat":
        return torch.cat(encoded.layers, dim=1)
    if view.layer > len(encoded.layers):
        raise ValueError(
            f"there is no view `{view.name}`: the encoder has {len(encoded.layers)} layers"
        )
    return encoded.layers[view.layer - 1]


def _batches(
    store: FrameSource, clips: Sequence[int], extractor: FeatureExtractor, at_once: int
) -> Iterator[tuple[Batch, Tensor, Tensor, bool]]:
    """Yields `at_once` windows of consecutive clips, and whether the last clip ends.

    The windows come with the position of their clip, and their number within it.

    The last batch may be smaller. A clip may span several batches, so long clips need no more
    memory.
    """
    # windows of a clip, its position, and the numbers of the windows
    pending: list[tuple[Batch, int, list[int]]] = []
    free = at_once
    for position, index in enumerate(clips):
        step = extractor.window_step or extractor.crop_frames
        starts = range(0, int(store.lengths[index]), step)
        while starts:
            now, starts = starts[:free], starts[free:]
            windows = cut_windows(store, index, extractor.crop_frames, extractor.normaliser, now)
            pending.append((windows, position, [start // step for start in now]))
            free -= len(now)
            if free == 0:
                yield _concatenate(pending, complete=not starts)
                pending, free = [], at_once
    if pending:
        yield _concatenate(pending, complete=True)


def _concatenate(
    pending: Sequence[tuple[Batch, int, list[int]]], *, complete: bool
) -> tuple[Batch, Tensor, Tensor, bool]:
    batches, positions, numbers = zip(*pending, strict=True)
    sizes = torch.tensor([len(each) for each in numbers])
    owners = torch.tensor(positions).repeat_interleave(sizes)
    flat = torch.tensor([number for each in numbers for number in each])
    return Batch.concatenate(list(batches)), owners, flat, complete
