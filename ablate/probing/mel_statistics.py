"""Baselines without a model: statistics over time of the log-mel bands of a clip.

Frames are pooled by the same code as the tokens of an encoder, a frame as one token. Beside the
poolings of the encoder there are three baselines that see how a sound changes: `deltas`,
`segments4` and `modulation`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from ablate.audio.loader import Normaliser
from ablate.probing.features import FeatureRows, Matrix, RowsByView
from ablate.probing.pooling import Sums, TokenOrder
from ablate.probing.views import MODULATION, SUMMARY, TOKENS, Pooling, View, Views

BASELINES: tuple[Pooling, ...] = ("mean_std", "deltas", "segments4", MODULATION)
# 16 Hz at a hop of 10 ms, which holds nearly all modulation of speech
NUM_MODULATION_BANDS = 16
FRAMES_PER_CYCLE = 100  # in the lowest modulation band
FRAMES_AT_ONCE = 8192  # pooled at once, 82 s at a hop of 10 ms
VALUES_AT_ONCE = 2**20  # transformed at once, so that long clips need no more memory


class ClipFrames(Protocol):
    """Anything that all frames of a clip can be read from."""

    def frames(self, index: int) -> Matrix:
        """Returns the frames of a clip, (frames, bands), not normalised."""


def list_statistics_views(views: Views, *, by_moment: bool) -> tuple[View, ...]:
    """Lists the views of log-mel statistics that a probe scores.

    These are the poolings that it scores of an encoder, for which there is no layer, and
    `BASELINES`. Log-mels have no summary token; `mean_std` is used instead.

    Args:
        views: The views of the encoder.
        by_moment: Whether the task needs one row per moment, which leaves nothing to pool.
    """
    poolings = [pooling for pooling in views.poolings if pooling != SUMMARY]
    if TOKENS not in poolings and not by_moment:
        poolings += BASELINES
    return tuple(View(pooling) for pooling in dict.fromkeys(poolings))


def compute_mel_features(
    store: ClipFrames,
    normaliser: Normaliser,
    clips: Sequence[int],
    views: Iterable[View],
    *,
    by_moment: bool = False,
) -> Iterator[RowsByView]:
    """Computes statistics over time of each mel band, pooled as each view requires.

    Yields one row per clip and view. For moments or tokens, it yields every frame as a row of its
    own.
    """
    views = list(views)
    for position, index in enumerate(clips):
        mel = normaliser(store.frames(index))
        sums = None if by_moment else _sum_frames(mel, [view.pooling for view in views])
        by_view = {}
        for view in views:
            if sums is None or view.pooling == TOKENS:
                rows = mel
            elif view.pooling == MODULATION:
                rows = compute_modulation(mel)[None]
            else:
                rows = sums.pool(view.pooling)
            by_view[view] = FeatureRows(rows.astype(np.float32), np.full(len(rows), position))
        yield by_view


def compute_modulation(mel: Matrix) -> Matrix:
    """Computes the modulation spectrum of each band.

    Args:
        mel: (frames, bands).

    Returns:
        The mean of each band, and for 1 to 16 cycles per 100 frames the magnitude of its Fourier
        transform over time, divided by the number of frames: (17 * bands,). Of clips longer than
        100 frames the magnitudes around each of these frequencies are averaged; shorter ones are
        padded with their mean.
    """
    mean, frames = mel.mean(axis=0), len(mel)
    length = max(frames, FRAMES_PER_CYCLE)
    bands_at_once = max(1, VALUES_AT_ONCE // length)
    pieces = [
        _compute_magnitudes(mel[:, start : start + bands_at_once], length)
        for start in range(0, mel.shape[1], bands_at_once)
    ]
    magnitudes = np.concatenate(pieces, axis=1)
    return np.concatenate([mean, magnitudes.flatten()]).astype(np.float32)


def _compute_magnitudes(mel: Matrix, length: int) -> Matrix:
    """Computes the magnitudes of modulation, (16, bands), of frames padded to `length`."""
    spectrum = np.abs(np.fft.rfft(mel - mel.mean(axis=0), n=length, axis=0)) / len(mel)
    number = np.rint(np.arange(len(spectrum)) * FRAMES_PER_CYCLE / length).astype(np.int64)
    rows = [spectrum[number == n].mean(axis=0) for n in range(1, NUM_MODULATION_BANDS + 1)]
    magnitudes: Matrix = np.stack(rows).astype(np.float32)
    return magnitudes


def _sum_frames(mel: Matrix, poolings: Sequence[Pooling]) -> Sums:
    """Sums the frames of a clip: a frame is a token, and the grid has one row.

    Differences in time are those within pieces of `FRAMES_AT_ONCE` frames.
    """
    earlier: Sums | None = None
    for start in range(0, len(mel), FRAMES_AT_ONCE):
        piece = np.ascontiguousarray(mel[start : start + FRAMES_AT_ONCE])
        zeros = torch.zeros(len(piece), dtype=torch.int64)
        column = torch.arange(start, start + len(piece))
        order = TokenOrder(column, torch.full_like(column, len(mel)), column > start)
        sums = Sums.compute(
            torch.from_numpy(piece),
            zeros,
            zeros,
            units=1,
            rows=1,
            poolings=poolings,
            order=order,
        )
        if earlier is not None:
            sums.add_to_first(earlier)
        earlier = sums
    assert earlier is not None, "a clip has a frame"
    return earlier
