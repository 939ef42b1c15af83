"""An encoder with its front end, as a module that can be trained further."""

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ablate.audio.conversion import compute_frames
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.preparation import Prepared
from ablate.audio.waveform_stream import SamplesInMemory, WaveformStream
from ablate.core.records.export import ExportedEncoder
from ablate.export.waveforms import to_batch
from ablate.export.windows import Statistics, encode_over_time
from ablate.model.encoder import AbstractEncoder
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import build
from ablate.probing.columns import find_regular_step
from ablate.probing.features import FeatureExtractor

Frames = npt.NDArray[np.float16]


class WaveformEncoder(nn.Module):
    """An encoder with its front end, as a module from waveforms to features over time.

    It is a module like any other: `forward` is differentiable with respect to the weights, `train`
    and `to` work, and its state is that of the weights file.

    Args:
        record: The settings of the encoder; its weights are not set.

    Raises:
        ValueError: If a part cannot be built.
    """

    def __init__(self, record: ExportedEncoder) -> None:
        super().__init__()
        self.record = record
        self.front_end = build(record.mel, expect=AbstractFrontEnd)
        self._patchifier = build(record.patchifier, expect=AbstractPatchifier)
        self._crop_frames = record.crop_frames
        self._grid = self._patchifier.grid(self.front_end.bands, self._crop_frames)
        self._window_step = find_regular_step(self._patchifier, self._grid, self._crop_frames)
        settings = build(record.encoder, expect=AbstractEncoder)
        self.encoder = settings.build(self._grid, self._patchifier.pixels)
        self.normaliser = Statistics(self.front_end.bands)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Computes a feature vector every `step_seconds`, differentiably.

        Args:
            waveforms: Float (batch, samples) at `sample_rate`, in [-1, 1].
            lengths: int (batch,), the samples of each waveform that are sound; default: all.

        Returns:
            Features, (batch, time, dim), on the device of the weights; 0 after the end of a sound.
        """
        return self.encode(waveforms, lengths)[0]

    def encode(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Computes what `forward` does, and which time steps are sound, bool (batch, time)."""
        self._check_times()
        rate, batch = self.sample_rate, to_batch(waveforms)
        ends = [batch.shape[1]] * len(batch) if lengths is None else lengths.tolist()
        if not all(0 < end <= batch.shape[1] for end in ends):
            raise ValueError(f"`lengths` must lie in [1, {batch.shape[1]}]; got {ends}")
        frames = [
            self._to_frames(open_samples(waveform[:end], rate))
            for waveform, end in zip(batch, ends, strict=True)
        ]
        return encode_over_time(self._get_extractor(over_time=True), frames)

    @property
    def sample_rate(self) -> int:
        """The default sample rate of waveforms in Hz.

        Raises `ValueError` if the front end has none.
        """
        front_end = self.front_end
        while isinstance(front_end, Prepared):
            front_end = front_end.front_end
        rate = getattr(front_end, "sample_rate", None)
        if not isinstance(rate, int):
            kind = type(front_end).__name__
            raise ValueError(f"{kind} has no `sample_rate`; pass the `sample_rate` of the waveform")
        return rate

    @property
    def dim(self) -> int:
        """The size of a feature vector: the features of all rows of the grid, concatenated."""
        return self._grid.freq * self.encoder.dim

    @property
    def step_seconds(self) -> float:
        """The time between two feature vectors of `features_over_time`: the step of patches."""
        return self._window_step * self.front_end.hop_seconds / self._grid.time

    @property
    def patch_seconds(self) -> float:
        """The time span of a patch; patches overlap if it is longer than `step_seconds`."""
        return self._patchifier.size[1] * self.front_end.hop_seconds

    def _to_frames(self, waveform: WaveformStream) -> Frames:
        """Computes the frames of a waveform, (frames, bands), rounded as in the clip store."""
        return np.concatenate(list(compute_frames(self.front_end, waveform)))

    def _get_extractor(self, *, over_time: bool) -> FeatureExtractor:
        return FeatureExtractor(
            encoder=self.encoder,
            patchifier=self._patchifier,
            grid=self._grid,
            crop_frames=self._crop_frames,
            normaliser=self.normaliser.to_normaliser(),
            device=next(self.encoder.parameters()).device,
            window_step=self._window_step if over_time else None,
        )

    def _check_times(self) -> None:
        front_end: object = self.front_end
        while isinstance(front_end, Prepared):
            if front_end.silence_db is not None:
                raise ValueError(
                    "the front end of this encoder removes silence (`silence_db`), so its features "
                    "have no times; use `clip_features`"
                )
            front_end = front_end.front_end


def open_samples(waveform: Tensor, rate: int) -> WaveformStream:
    """Opens a waveform, (samples,), as a stream."""
    return SamplesInMemory(waveform.numpy(), rate)
