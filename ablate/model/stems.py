"""Stems: map the values of each patch to a token.

A stem processes one patch at a time, so that nothing leaks from a hidden patch into a visible one.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

# (kernel, stride) of each layer, in samples of its input
Convolutions = tuple[tuple[int, int], ...]
WAV2VEC2: Convolutions = ((10, 5), *((3, 2),) * 4, (2, 2), (2, 2))


class Stem(nn.Module, ABC):
    """Maps patches to tokens, each independently."""

    @abstractmethod
    def forward(self, patches: Tensor) -> Tensor:
        """Maps `(tokens, pixels)` to `(tokens, dim)`."""

    @abstractmethod
    def flops(self, tokens: int) -> int:
        """Counts the floating-point operations for `tokens` tokens, 2 per multiply-add."""


class AbstractStem(ABC):
    """Settings of a stem; subclasses are frozen keyword-only dataclasses.

    Example:
        >>> from ablate.model.stems import Convolutional2D
        >>> stem = Convolutional2D(freq=16, time=16).build(pixels=256, dim=64)
        >>> stem(torch.zeros(5, 256)).shape
        torch.Size([5, 64])
    """

    @abstractmethod
    def build(self, pixels: int, dim: int) -> Stem:
        """Builds the stem. Its weights are not set yet.

        Args:
            pixels: Number of values of a patch.
            dim: Width of the tokens.

        Raises:
            ValueError: The settings do not fit the patch size or the width.
        """


@dataclass(frozen=True, kw_only=True)
class LinearStem(AbstractStem):
    """A linear projection of the flattened patch, as in ViT.

    Dosovitskiy et al., ICLR 2021. https://arxiv.org/abs/2010.11929
    """

    part = "ablate.model.stems.Linear"  # its former name

    def build(self, pixels: int, dim: int) -> Stem:
        return _Linear(pixels, dim)


@dataclass(frozen=True, kw_only=True)
class Convolutional2D(AbstractStem):
    """Four 3x3 convolutions of stride 2 within the patch, each normalised over the patch.

    Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021.
    https://arxiv.org/abs/2106.14881
    Unlike the paper: layer norm instead of batch norm, and no convolution crosses the edge of its
    patch. The width must be a multiple of 8.

    Args:
        freq: Mel bands of a patch.
        time: Frames of a patch.

    Example:
        encoder: {type: ablate.model.vit.ViT,
          stem: {type: ablate.model.stems.Convolutional2D, freq: 16, time: 16}}
    """

    freq: int = 16
    time: int = 16

    def build(self, pixels: int, dim: int) -> Stem:
        _check_shape(self.freq, self.time, pixels)
        if dim % 8:
            raise ValueError(f"`dim` {dim} must be a multiple of 8: the first layer has dim / 8")
        return _Convolutional2D(self.freq, self.time, dim)


@dataclass(frozen=True, kw_only=True)
class Speech1D(AbstractStem):
    """Two convolutions over the frames of a patch, with mel bands as channels, as in Whisper.

    Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023.
    https://arxiv.org/abs/2212.04356
    Unlike the paper: no convolution crosses the edge of its patch.

    Args:
        freq: Mel bands of a patch.
        time: Frames of a patch.

    Example:
        encoder: {type: ablate.model.vit.ViT,
          stem: {type: ablate.model.stems.Speech1D, freq: 64, time: 4}}
    """

    freq: int = 64
    time: int = 4

    def build(self, pixels: int, dim: int) -> Stem:
        _check_shape(self.freq, self.time, pixels)
        return _Speech1D(self.freq, self.time, dim)


@dataclass(frozen=True, kw_only=True)
class WaveformStem(AbstractStem):
    """The convolutions of wav2vec 2.0, applied to the window of samples of one token.

    The patchifier must cut windows of the receptive field: by default 400 samples, 320 apart (50 Hz
    at 16 kHz); without the last layer, as in WavJEPA (https://arxiv.org/abs/2509.23238), 240
    samples, 160 apart (100 Hz). Each layer has layer norm over its channels, as in the large model
    of Baevski et al., 2020 (https://arxiv.org/abs/2006.11477), because the group norm of the base
    model would need the whole clip, including padding.

    Args:
        layers: (kernel, stride) of each convolution, in samples of its input.
        channels: Channels of every convolution.

    Example:
        encoder: {type: ablate.model.vit.ViT, stem: {type: ablate.model.stems.WaveformStem}}
    """

    part = "ablate.model.stems.Waveform"  # its former name

    layers: Convolutions = WAV2VEC2
    channels: int = 512

    def __post_init__(self) -> None:
        if not self.layers or min(map(min, self.layers)) < 1:
            raise ValueError(f"`layers` must be (kernel, stride), both positive; got {self.layers}")
        if self.channels < 1:
            raise ValueError(f"`channels` must be at least 1; got {self.channels}")

    @property
    def window(self) -> int:
        """Number of samples of one token."""
        samples = 1
        for kernel, stride in reversed(self.layers):
            samples = (samples - 1) * stride + kernel
        return samples

    @property
    def hop(self) -> int:
        """Number of samples from the start of one token to the next."""
        return math.prod(stride for _, stride in self.layers)

    def build(self, pixels: int, dim: int) -> Stem:
        if pixels != self.window:
            raise ValueError(
                f"these `layers` need patches of {self.window} samples, {self.hop} apart; "
                f"the patchifier cuts patches of {pixels}"
            )
        return _Waveform(self.layers, self.channels, dim)


class _Linear(Stem):
    def __init__(self, pixels: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim, pixels))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, patches: Tensor) -> Tensor:
        return F.linear(patches, self.weight, self.bias)

    def flops(self, tokens: int) -> int:
        return 2 * self.weight.numel() * tokens


class _Convolutional2D(Stem):
    def __init__(self, freq: int, time: int, dim: int) -> None:
        super().__init__()
        self._freq = freq
        widths = (1, dim // 8, dim // 4, dim // 2, dim)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for width in widths[1:])
        self._products = 0
        for before, after in pairwise(widths):
            self.convolutions.append(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False))
            freq, time = (freq + 1) // 2, (time + 1) // 2
            self._products += 9 * before * after * freq * time
        self.collect = nn.Linear(dim * freq * time, dim)

    def forward(self, patches: Tensor) -> Tensor:
        images = rearrange(patches, "tokens (freq time) -> tokens 1 freq time", freq=self._freq)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = F.gelu(norm(convolution(images)))
        tokens: Tensor = self.collect(images.flatten(1))
        return tokens

    def flops(self, tokens: int) -> int:
        return 2 * tokens * (self._products + self.collect.weight.numel())


class _Speech1D(Stem):
    def __init__(self, freq: int, time: int, dim: int) -> None:
        super().__init__()
        self._freq = freq
        self.first = nn.Conv1d(freq, dim, 3, padding=1)
        self.second = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        frames = (time + 1) // 2
        self.collect = nn.Linear(dim * frames, dim)
        self._products = self.first.weight.numel() * time + self.second.weight.numel() * frames

    def forward(self, patches: Tensor) -> Tensor:
        frames = rearrange(patches, "tokens (freq time) -> tokens freq time", freq=self._freq)
        frames = F.gelu(self.second(F.gelu(self.first(frames))))
        tokens: Tensor = self.collect(frames.flatten(1))
        return tokens

    def flops(self, tokens: int) -> int:
        return 2 * tokens * (self._products + self.collect.weight.numel())


class _Waveform(Stem):
    def __init__(self, layers: Convolutions, channels: int, dim: int) -> None:
        super().__init__()
        inputs = (1, *(channels,) * (len(layers) - 1))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, channels, kernel, stride, bias=False)
            for before, (kernel, stride) in zip(inputs, layers, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in layers)
        self.norm = nn.LayerNorm(channels)
        self.collect = nn.Linear(channels, dim)
        self._products, frames = self.collect.weight.numel(), 1
        for before, (kernel, stride) in reversed(list(zip(inputs, layers, strict=True))):
            self._products += before * channels * kernel * frames
            frames = (frames - 1) * stride + kernel

    def forward(self, patches: Tensor) -> Tensor:
        frames = patches.unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            frames = F.gelu(norm(convolution(frames).mT).mT)
        tokens: Tensor = self.collect(self.norm(frames.squeeze(2)))
        return tokens

    def flops(self, tokens: int) -> int:
        return 2 * tokens * self._products


def _check_shape(freq: int, time: int, pixels: int) -> None:
    if freq < 1 or time < 1 or freq * time != pixels:
        raise ValueError(
            f"a stem for patches of {freq} mel bands and {time} frames does not fit patches of "
            f"{pixels} values; give its `freq` and `time` those of the patchifier"
        )


Linear, Waveform = LinearStem, WaveformStem  # former names, in studies that name them
