"""Computes the float16 frames of a waveform, at once or, if it is long, block by block."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.waveform_stream import WaveformStream

MAX_SHORT = 1 << 22  # samples that are converted at once; 95 s at 44.1 kHz


def compute_frames(
    front_end: AbstractFrontEnd, stream: WaveformStream
) -> Iterator[npt.NDArray[np.float16]]:
    """Yields the frames of a waveform, float16 (frames, bands), in one or more blocks.

    Values beyond the range of float16 become infinite.
    """
    samples = stream.read_if_short(MAX_SHORT)
    if samples is None:
        blocks = front_end.convert_stream(stream)
    else:
        blocks = iter([front_end(torch.from_numpy(samples), stream.sample_rate)])
    for frames in blocks:
        with np.errstate(over="ignore"):
            rounded = frames.numpy().astype(np.float16)
        yield rounded
