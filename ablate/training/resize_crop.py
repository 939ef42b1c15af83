"""Crops log-mels at random and resizes them to their former size: shifts of pitch and of time."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ablate.model.masking import check_range
from ablate.training.input_scale import InputScale
from ablate.training.input_views import AbstractView

CUBIC = -0.75  # slope of the interpolation, that of `torch.nn.functional.interpolate`


@dataclass(frozen=True, kw_only=True)
class ResizeCrop(AbstractView):
    """Cuts a random rectangle out of each log-mel, and stretches it to the size of the clip.

    The clip lies in the centre of a canvas of zeros, which is the mean of log-mels; the rectangle
    lies on the canvas, and is resized by bicubic interpolation. Of a padded clip, only its own
    frames are stretched.

    Niizumi et al., "BYOL for Audio", IJCNN 2021, sec. 3.3.2. https://arxiv.org/abs/2103.06695
    As in ATST-Frame, https://github.com/Audio-WestlakeU/audiossl at ec3a14d,
    audiossl/transforms/byol_a.py:7-49, where `canvas: [1, 1]` and `time_scale: [1, 1]` warp
    frequencies alone. A waveform is refused: use a log-mel.

    Args:
        canvas: Bands and frames of the canvas, relative to those of the clip, at least 1.
        freq_scale: Range of the bands of the rectangle, relative to those of the clip; it is cut
            to the canvas.
        time_scale: Range of its frames.

    Example:
        view: {type: ablate.training.resize_crop.ResizeCrop, canvas: [1.0, 1.5]}
    """

    needs_log_mel: ClassVar[bool] = True

    canvas: tuple[float, float] = (1.0, 1.5)
    freq_scale: tuple[float, float] = (0.6, 1.5)
    time_scale: tuple[float, float] = (0.6, 1.5)

    def __post_init__(self) -> None:
        if min(self.canvas) < 1:
            raise ValueError(f"`canvas` must be at least 1 on both axes; got {self.canvas}")
        check_range("freq_scale", self.freq_scale, low=0.01, high=100)
        check_range("time_scale", self.time_scale, low=0.01, high=100)

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        self.check_scale(scale)
        clips, bands, _ = mels.shape
        freq_canvas, time_canvas = self.canvas
        rows = draw_windows(torch.full((clips,), bands), freq_canvas, self.freq_scale, rng)
        # padding, if any, is at the end of a clip
        columns = draw_windows(valid_frames.sum(dim=1), time_canvas, self.time_scale, rng)
        return _resize(_resize(mels.mT, columns).mT, rows)


@dataclass(frozen=True)
class CropWindows:
    """Where each clip is cut along one axis, int64 (clips,)."""

    start: Tensor  # first place of the window, relative to the clip; negative on the canvas
    size: Tensor  # places in the window
    length: Tensor  # places of the clip, to which the window is stretched


def draw_windows(
    length: Tensor, canvas: float, scale: tuple[float, float], rng: torch.Generator
) -> CropWindows:
    """Draws a window per clip of `length` places, int64 (clips,), on a canvas around it."""
    low, high = scale
    places = (length * canvas).long()
    size = ((low + (high - low) * torch.rand(len(length), generator=rng)) * length).long()
    size = size.clamp(min=1).minimum(places)
    choices = places - size + 1
    start = (torch.rand(len(length), generator=rng) * choices).long().minimum(choices - 1)
    return CropWindows(start - (places - length) // 2, size, length)


def _resize(values: Tensor, windows: CropWindows) -> Tensor:
    """Stretches a window of each clip's rows to the clip, (clips, rows, columns); zero outside."""
    _, rows, columns = values.shape
    size, length = windows.size.unsqueeze(1), windows.length.unsqueeze(1)
    step = (size - 1) / (length - 1).clamp(min=1)
    position = torch.arange(rows) * step  # the ends of the window become those of the clip
    before = position.floor()
    total = torch.zeros_like(values)
    for offset in (-1, 0, 1, 2):
        weight = _weigh((position - before - offset).abs())
        place = (before.long() + offset).clamp(min=0).minimum(size - 1)
        place = place + windows.start.unsqueeze(1)
        weight = weight * ((place >= 0) & (place < length))
        index = place.clamp(0, rows - 1).unsqueeze(2).expand(-1, -1, columns)
        total += weight.unsqueeze(2) * values.gather(1, index)
    return total


def _weigh(distance: Tensor) -> Tensor:
    """Returns the weight of cubic convolution at distances of 0 to 2 places."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance.square() + 1
    far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, far)
