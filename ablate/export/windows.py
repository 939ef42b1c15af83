"""Encodes clips window by window with gradients: features over time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ablate.audio.loader import Batch, Normaliser, cut_windows
from ablate.model.packing import pack
from ablate.probing.features import FeatureExtractor

Frames = npt.NDArray[np.float16]


class Statistics(nn.Module):
    """Mean and deviation of each band, saved with the weights; they are not trained."""

    mean: Tensor
    std: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("std", torch.ones(bands))

    def to_normaliser(self) -> Normaliser:
        """Returns the normaliser of frames."""
        return Normaliser(self.mean.float().cpu().numpy(), self.std.float().cpu().numpy())


@dataclass(frozen=True)
class FramesInMemory:
    """Frames of clips that are not in a store."""

    clips: Sequence[Frames]  # each (frames, bands)

    @property
    def lengths(self) -> Sequence[int]:
        """The number of frames of each clip."""
        return [len(clip) for clip in self.clips]

    def read_frames(self, index: int, start: int, stop: int) -> Frames:
        """Returns frames of a clip."""
        return self.clips[index][start:stop]


def encode_over_time(extractor: FeatureExtractor, clips: Sequence[Frames]) -> tuple[Tensor, Tensor]:
    """Encodes clips, with gradients if they are enabled.

    Args:
        extractor: The encoder; its windows follow each other by `window_step`.
        clips: The frames of each clip, (frames, bands).

    Returns:
        Features (clips, time, rows * dim), the rows of the grid concatenated, 0 after the end of a
        clip, and bool (clips, time), the time steps in which a clip has a patch.
    """
    frames, grid = FramesInMemory(clips), extractor.grid
    windows = [
        cut_windows(
            frames,
            index,
            extractor.crop_frames,
            extractor.normaliser,
            range(0, length, extractor.window_step or extractor.crop_frames),
        )
        for index, length in enumerate(frames.lengths)
    ]
    batch = Batch.concatenate(windows)
    valid = extractor.patchifier.valid(batch.valid_frames, batch.bands)
    packing = pack(valid, extractor.device)
    weights = next(extractor.encoder.parameters())
    patches = extractor.patchifier.cut(batch.mels_on(extractor.device)).to(weights.dtype)
    tokens = extractor.encoder(patches, packing).tokens
    # scattered to (windows, rows of the grid, columns)
    cells = tokens.new_zeros(len(valid) * grid.size, tokens.shape[1])
    cells = cells.index_copy(0, packing.index, tokens)
    columns = cells.view(len(valid), grid.freq, grid.time, -1).transpose(1, 2).flatten(2)
    is_sound = valid.view(len(valid), grid.freq, grid.time).any(dim=1).to(columns.device)
    counts = [len(window.frames) for window in windows]
    features = nn.utils.rnn.pad_sequence(
        [part.flatten(0, 1) for part in torch.split(columns, counts)], batch_first=True
    )
    sounding = nn.utils.rnn.pad_sequence(
        [part.flatten() for part in torch.split(is_sound, counts)], batch_first=True
    )
    longest = int(sounding.sum(dim=1).max())
    return features[:, :longest], sounding[:, :longest]
