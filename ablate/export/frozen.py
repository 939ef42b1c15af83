"""A trained encoder as something to listen with: sound of any length in, features out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate.audio.loader import Normaliser
from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.preparation import Prepared
from ablate.audio.sources import decode
from ablate.core.io import read_json
from ablate.export.export import FORMAT, SETTINGS, WEIGHTS
from ablate.model.encoder import AbstractEncoder
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import build
from ablate.probing.features import FeatureExtractor, RowsByView, extract_features
from ablate.probing.views import View

USUAL = View("concat_freq")


class FrozenEncoder(nn.Module):
    """An exported encoder with its front end, as the run's probes saw it, on the CPU at first.

    Raises `ValueError` for a folder that holds no `encoder.json`, or one of another format.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        told = _settings(folder)
        self.front_end = build(told["mel"], expect=AbstractFrontEnd)
        self._patchifier = build(told["patchifier"], expect=AbstractPatchifier)
        self._crop_frames = int(told["crop_frames"])
        self._grid = self._patchifier.grid(self.front_end.bands, self._crop_frames)
        settings = build(told["encoder"], expect=AbstractEncoder)
        self.encoder = settings.build(self._grid, self._patchifier.pixels)
        saved = load_file(folder / WEIGHTS)
        mean, std = (saved.pop(f"normaliser.{name}").numpy() for name in ("mean", "std"))
        self._normaliser = Normaliser(mean, std)
        weights = {name.removeprefix("encoder."): value for name, value in saved.items()}
        self.encoder.load_state_dict(weights)
        self.requires_grad_(requires_grad=False).eval()

    @property
    def sample_rate(self) -> int:
        """The rate in Hz of waveforms that come without; `ValueError` where none is set."""
        front_end = self.front_end
        while isinstance(front_end, Prepared):
            front_end = front_end.front_end
        rate = getattr(front_end, "sample_rate", None)
        if not isinstance(rate, int):
            kind = type(front_end).__name__
            raise ValueError(f"{kind} has no `sample_rate`; say at which rate a waveform is")
        return rate

    @property
    def dim(self) -> int:
        """How many numbers describe a moment: the rows of the grid side by side."""
        return self._grid.freq * self.encoder.dim

    @property
    def moment_seconds(self) -> float:
        """The time from one moment, a column of the grid, to the next, on average over windows.

        Within a window it is the patchifier's step: less, where patches overlap.
        """
        return self._crop_frames * self.front_end.hop_seconds / self._grid.time

    def features(
        self, sound: str | Path | Tensor, *, sample_rate: int | None = None, view: View = USUAL
    ) -> Tensor:
        """Returns one vector for a file or a waveform (samples,) of any length, (dim,).

        Another `view` than the usual has another width. Raises `BadAudioError` for a file that
        cannot be decoded, `ValueError` for a file with a `sample_rate`, or an empty waveform.
        """
        waveform, rate = self._heard(sound, sample_rate)
        return self.pooled(waveform.unsqueeze(0), sample_rate=rate, view=view)[0]

    def pooled(
        self, waveforms: Tensor, *, sample_rate: int | None = None, view: View = USUAL
    ) -> Tensor:
        """Returns (batch, dim) of (batch, samples); a long waveform is read window by window.

        Raises `ValueError` for another shape, or no samples.
        """
        blocks = self._read(waveforms, sample_rate, view, by_moment=False)
        return torch.from_numpy(np.concatenate([block[view].rows for block in blocks]))

    def moments(self, waveforms: Tensor, *, sample_rate: int | None = None) -> Tensor:
        """Returns (batch, moments, dim) of (batch, samples), one moment each `moment_seconds`.

        Raises `ValueError` for another shape, or no samples.
        """
        blocks = self._read(waveforms, sample_rate, USUAL, by_moment=True)
        rows = torch.from_numpy(np.concatenate([block[USUAL].rows for block in blocks]))
        return rows.view(len(waveforms), -1, rows.shape[1])

    def _heard(self, sound: str | Path | Tensor, rate: int | None) -> tuple[Tensor, int]:
        if isinstance(sound, Tensor):
            return sound, rate or self.sample_rate
        if rate is not None:
            raise ValueError("a file knows its own rate; leave `sample_rate` out")
        samples, rate = decode(Path(sound), str(sound))
        return torch.from_numpy(samples), rate

    def _read(
        self, waveforms: Tensor, rate: int | None, view: View, *, by_moment: bool
    ) -> list[RowsByView]:
        if waveforms.dim() != 2 or waveforms.shape[1] == 0:
            shape = tuple(waveforms.shape)
            raise ValueError(f"waveforms must be (batch, samples), a sample at least; got {shape}")
        rate = rate or self.sample_rate
        frames = [self.front_end(waveform.float().cpu(), rate) for waveform in waveforms]
        # rounded as the clip store rounds them
        heard = _Heard([frame.numpy().astype(np.float16) for frame in frames])
        reader = FeatureExtractor(
            encoder=self.encoder,
            patchifier=self._patchifier,
            grid=self._grid,
            crop_frames=self._crop_frames,
            normaliser=self._normaliser,
            device=next(self.encoder.parameters()).device,
        )
        clips = range(len(frames))
        return list(extract_features(reader, heard, clips, [view], by_moment=by_moment))


def load_encoder(folder: str | Path) -> FrozenEncoder:
    """Loads an encoder that `ablate export RUN --to FOLDER` wrote.

    Args:
        folder: The folder it was written to.

    Returns:
        The encoder with its front end, frozen, on the CPU.

    Raises:
        ValueError: If the folder contains no exported encoder, or one of another format.

    Example:
        >>> import ablate
        >>> import torch
        >>> encoder = ablate.load_encoder("exported")
        >>> features = encoder.features(torch.zeros(16000), sample_rate=16000)  # one second
        >>> features.shape == (encoder.dim,)
        True
    """
    return FrozenEncoder(Path(folder))


@dataclass(frozen=True)
class _Heard:
    """Clips that were just heard."""

    frames: Sequence[npt.NDArray[np.float16]]  # each (frames, bands)

    @property
    def lengths(self) -> Sequence[int]:
        return [len(clip) for clip in self.frames]

    def read_frames(self, index: int, start: int, stop: int) -> npt.NDArray[np.float16]:
        return self.frames[index][start:stop]


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / SETTINGS).is_file():
        raise ValueError(f"`{folder}` holds no `{SETTINGS}`; `ablate export RUN --to {folder}`")
    told: dict[str, Any] = read_json(folder / SETTINGS)
    if told["format"] != FORMAT:
        raise ValueError(
            f"`{folder}` is of format {told['format']} and this code reads {FORMAT}; export again"
        )
    return told
