"""Loads an exported encoder, which computes features of audio of any length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ablate.audio.loader import Normaliser
from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.preparation import Prepared
from ablate.audio.sources import decode
from ablate.core.records.export import ExportedEncoder
from ablate.export.export import SETTINGS, WEIGHTS
from ablate.model.encoder import AbstractEncoder
from ablate.model.patchify import AbstractPatchifier
from ablate.parts import build
from ablate.probing.features import FeatureExtractor, RowsByView, extract_features
from ablate.probing.views import View

DEFAULT_VIEW = View("concat_freq")


class FrozenEncoder(nn.Module):
    """An exported encoder with its front end; it computes the same features as the run's probes.

    It is frozen, and on the CPU until it is moved with `to`. Use `ablate.load_encoder` to load one.

    Raises:
        ValueError: if the folder has no `encoder.json`, or one of another format.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        record = _read_settings(folder)
        self.front_end = build(record.mel, expect=AbstractFrontEnd)
        self._patchifier = build(record.patchifier, expect=AbstractPatchifier)
        self._crop_frames = record.crop_frames
        self._grid = self._patchifier.grid(self.front_end.bands, self._crop_frames)
        settings = build(record.encoder, expect=AbstractEncoder)
        self.encoder = settings.build(self._grid, self._patchifier.pixels)
        saved = load_file(folder / WEIGHTS)
        mean, std = (saved.pop(f"normaliser.{name}").numpy() for name in ("mean", "std"))
        self._normaliser = Normaliser(mean, std)
        weights = {name.removeprefix("encoder."): value for name, value in saved.items()}
        self.encoder.load_state_dict(weights)
        self.requires_grad_(requires_grad=False).eval()

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

    @property
    def _window_step(self) -> int:
        """Frames from one window to the next at which columns keep their distance.

        The last patch of a window is complete, so overlapping patches need overlapping windows.
        """
        columns, (_, size), (_, stride) = (
            self._grid.time,
            self._patchifier.size,
            self._patchifier.stride,
        )
        unused = self._crop_frames - (columns - 1) * stride - size
        # a patchifier that cuts otherwise: columns are regular on average only
        return columns * stride if 0 <= unused < stride else self._crop_frames

    def features(
        self,
        sound: str | Path | Tensor,
        *,
        sample_rate: int | None = None,
        view: View = DEFAULT_VIEW,
    ) -> Tensor:
        """Computes one feature vector for audio of any length.

        Args:
            sound: an audio file, or a waveform, float32 (samples,).
            sample_rate: of the waveform, in Hz; default: `self.sample_rate`. Not allowed for files.
            view: the layer and pooling of the features.

        Returns:
            Features, (dim,). Views other than the default may have another size.

        Raises:
            BadAudioError: for a file that cannot be decoded.
            ValueError: for an empty waveform, and for a file with a `sample_rate`.

        Example:
            >>> encoder = ablate.load_encoder("exported")  # doctest: +SKIP
            >>> encoder.features("dog.wav").shape  # doctest: +SKIP
            torch.Size([768])
        """
        waveform, rate = self._load_waveform(sound, sample_rate)
        return self.clip_features(waveform.unsqueeze(0), sample_rate=rate, view=view)[0]

    def clip_features(
        self, waveforms: Tensor, *, sample_rate: int | None = None, view: View = DEFAULT_VIEW
    ) -> Tensor:
        """Computes one feature vector per waveform; long ones are processed window by window.

        Args:
            waveforms: float32 (batch, samples).
            sample_rate: of the waveforms, in Hz; default: `self.sample_rate`.
            view: the layer and pooling of the features.

        Returns:
            Features, (batch, dim).

        Raises:
            ValueError: for waveforms of another shape or without samples.
        """
        blocks = self._extract(waveforms, sample_rate, view, by_moment=False)
        return torch.from_numpy(np.concatenate([block[view].rows for block in blocks]))

    def features_over_time(self, waveforms: Tensor, *, sample_rate: int | None = None) -> Tensor:
        """Computes a feature vector every `step_seconds`, for every patch that the sound begins.

        Vector `i` is computed from the `patch_seconds` after `i * step_seconds`; the last ones may
        reach past the end of the sound.

        Args:
            waveforms: float32 (batch, samples).
            sample_rate: of the waveforms, in Hz; default: `self.sample_rate`.

        Returns:
            Features, (batch, time, dim).

        Raises:
            ValueError: for waveforms of another shape or without samples, and if the front end
                removes silence, so that frames have no times.
        """
        if _removes_silence(self.front_end):
            raise ValueError(
                "the front end of this encoder removes silence (`silence_db`), so its features "
                "have no times; use `clip_features`"
            )
        blocks = self._extract(waveforms, sample_rate, DEFAULT_VIEW, by_moment=True)
        rows = torch.from_numpy(np.concatenate([block[DEFAULT_VIEW].rows for block in blocks]))
        return rows.view(len(waveforms), -1, rows.shape[1])

    def _load_waveform(self, sound: str | Path | Tensor, rate: int | None) -> tuple[Tensor, int]:
        if isinstance(sound, Tensor):
            return sound, rate or self.sample_rate
        if rate is not None:
            raise ValueError("`sample_rate` is for waveforms; a file has its own, so leave it out")
        samples, rate = decode(Path(sound), str(sound))
        return torch.from_numpy(samples), rate

    def _extract(
        self, waveforms: Tensor, rate: int | None, view: View, *, by_moment: bool
    ) -> list[RowsByView]:
        if waveforms.dim() != 2 or waveforms.shape[1] == 0:
            shape = tuple(waveforms.shape)
            raise ValueError(
                f"waveforms must be (batch, samples) with at least one sample; got {shape}"
            )
        rate = rate or self.sample_rate
        frames = [self.front_end(waveform.float().cpu(), rate) for waveform in waveforms]
        # rounded like the frames in the clip store
        clips = _FramesInMemory([frame.numpy().astype(np.float16) for frame in frames])
        reader = FeatureExtractor(
            encoder=self.encoder,
            patchifier=self._patchifier,
            grid=self._grid,
            crop_frames=self._crop_frames,
            normaliser=self._normaliser,
            device=next(self.encoder.parameters()).device,
            window_step=self._window_step if by_moment else None,
        )
        indices = range(len(frames))
        return list(extract_features(reader, clips, indices, [view], by_moment=by_moment))


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
class _FramesInMemory:
    """Frames of clips that are not in a store."""

    frames: Sequence[npt.NDArray[np.float16]]  # each (frames, bands)

    @property
    def lengths(self) -> Sequence[int]:
        return [len(clip) for clip in self.frames]

    def read_frames(self, index: int, start: int, stop: int) -> npt.NDArray[np.float16]:
        return self.frames[index][start:stop]


def _removes_silence(front_end: AbstractFrontEnd) -> bool:
    while isinstance(front_end, Prepared):
        if front_end.silence_db is not None:
            return True
        front_end = front_end.front_end
    return False


def _read_settings(folder: Path) -> ExportedEncoder:
    if not (folder / SETTINGS).is_file():
        raise ValueError(
            f"`{folder}` has no `{SETTINGS}`; write one with `ablate export RUN --to {folder}`"
        )
    return ExportedEncoder.read(folder / SETTINGS)
