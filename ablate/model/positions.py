"""Position encodings on a grid of patches: added to tokens, or rotary in attention."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from einops import repeat
from torch import Tensor, nn

from ablate.model.masking import Grid


@dataclass(frozen=True)
class Rotation:
    """Rotary angles: rotates each pair of dimensions of queries and keys by its own angle."""

    cosine: Tensor  # (tokens, 1, head dim / 2)
    sine: Tensor  # (tokens, 1, head dim / 2)

    def __call__(self, part: Tensor) -> Tensor:
        """Rotates `(tokens, heads, head dim)`; a pair is dimensions i and i + head dim / 2."""
        first, second = part.chunk(2, dim=-1)
        cosine, sine = self.cosine.to(part.dtype), self.sine.to(part.dtype)
        rotated = (first * cosine - second * sine, first * sine + second * cosine)
        return torch.cat(rotated, dim=-1)


class Positions(nn.Module):
    """Position encoding of one grid: a vector added to each token, a rotation, or neither.

    A place is the index of a patch on the grid.

    Args:
        added: Maps places, int64 `(tokens,)`, to vectors, `(tokens, dim)`.
        turned: Maps places, int64 `(tokens,)`, to a `Rotation`.
    """

    def __init__(self, *, added: nn.Module | None = None, turned: nn.Module | None = None) -> None:
        super().__init__()
        self.added = added
        self.turned = turned

    def add(self, tokens: Tensor, place: Tensor) -> Tensor:
        """Adds to `(tokens, dim)` the vectors of their places, int64 `(tokens,)`."""
        return tokens if self.added is None else tokens + self.added(place)

    def rotation(self, place: Tensor) -> Rotation | None:
        """Returns the rotation of queries and keys; tokens with place -1 are not rotated."""
        return None if self.turned is None else self.turned(place)


class AbstractPositions(ABC):
    """Settings of a position encoding; subclasses are frozen keyword-only dataclasses.

    Example:
        >>> from ablate.model.positions import SineCosine
        >>> positions = SineCosine().build(Grid(freq=2, time=4), dim=8, heads=2)
        >>> positions.add(torch.zeros(3, 8), torch.tensor([0, 1, 7])).shape
        torch.Size([3, 8])
    """

    @abstractmethod
    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        """Builds the encoding for one grid and one encoder.

        Args:
            grid: The grid of the patches.
            dim: Width of the tokens.
            heads: Number of attention heads.
            scale: Factor of the added vectors.

        Raises:
            ValueError: The encoding cannot distinguish the places of the grid, or cannot divide
                the width of the heads.
        """


@dataclass(frozen=True, kw_only=True)
class NoPositions(AbstractPositions):
    """No position encoding: attention treats the tokens as a set."""

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        return Positions()


@dataclass(frozen=True, kw_only=True)
class SineCosine(AbstractPositions):
    """Fixed 2-D sines and cosines, half of `dim` for frequency and half for time.

    See `sine_cosine`.
    """

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        return Positions(added=_Fixed(scale * sine_cosine(grid, dim)))


@dataclass(frozen=True, kw_only=True)
class SineCosine1D(AbstractPositions):
    """Fixed sines and cosines of time, for grids with one row."""

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        _check_one_row(self, grid)
        return Positions(added=_Fixed(scale * _waves(torch.arange(grid.time), dim)))


@dataclass(frozen=True, kw_only=True)
class Learned(AbstractPositions):
    """A learned vector for each patch of the grid, as in ViT and SSAST.

    Dosovitskiy et al., ICLR 2021. https://arxiv.org/abs/2010.11929
    Gong et al., "SSAST", AAAI 2022. https://arxiv.org/abs/2110.09784

    Args:
        time: Columns of the table. If unset, those of the grid.

    Example:
        encoder: {type: ablate.model.vit.ViT, positions: {type: ablate.model.positions.Learned}}
    """

    time: int | None = None

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        return Positions(added=_Learned(grid, dim, _length("time", self.time, grid.time), scale))


@dataclass(frozen=True, kw_only=True)
class SeparableLearned(AbstractPositions):
    """A learned vector per row plus a learned vector per column, as in Dasheng.

    Dinkel et al., "Scaling up masked audio encoder learning for general audio classification",
    Interspeech 2024. https://arxiv.org/abs/2406.06992

    Args:
        freq: Length of the table of rows. If unset, the rows of the grid.
        time: Length of the table of columns. If unset, the columns of the grid.

    Example:
        encoder: {type: ablate.model.vit.ViT,
          positions: {type: ablate.model.positions.SeparableLearned, time: 252}}
    """

    freq: int | None = None
    time: int | None = None

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        freq, time = _length("freq", self.freq, grid.freq), _length("time", self.time, grid.time)
        return Positions(added=_SeparableLearned(grid, dim, freq, time, scale))


@dataclass(frozen=True, kw_only=True)
class Rotary1D(AbstractPositions):
    """Rotary positions in time, for grids with one row.

    Su et al., "RoFormer", 2021. https://arxiv.org/abs/2104.09864

    Args:
        base: About the ratio of the fastest to the slowest rotation.

    Example:
        encoder: {type: ablate.model.vit.ViT, positions: {type: ablate.model.positions.Rotary1D}}
    """

    base: float = 10000.0

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        _check_one_row(self, grid)
        _check_rotary(self.base, dim // heads, 2)
        angles = _angles(torch.arange(grid.time), dim // heads // 2, self.base)
        return Positions(turned=_Rotary(angles))


@dataclass(frozen=True, kw_only=True)
class Rotary2D(AbstractPositions):
    """Rotary positions: half of each head rotated by frequency, half by time.

    Heo et al., "Rotary Position Embedding for Vision Transformer", ECCV 2024 (the axial form).
    https://arxiv.org/abs/2403.13298

    Args:
        base: About the ratio of the fastest to the slowest rotation, in each half.

    Example:
        encoder: {type: ablate.model.vit.ViT, positions: {type: ablate.model.positions.Rotary2D}}
    """

    base: float = 10000.0

    def build(self, grid: Grid, dim: int, heads: int, *, scale: float = 1.0) -> Positions:
        _check_rotary(self.base, dim // heads, 4)
        pairs = dim // heads // 4
        freq, time = (_angles(axis, pairs, self.base) for axis in _axes(grid))
        return Positions(turned=_Rotary(torch.cat([freq, time], dim=1)))


def sine_cosine(grid: Grid, dim: int) -> Tensor:
    """Computes 2-D sine-cosine positions, float32 `(patches, dim)`; `dim` is a multiple of 4.

    Vaswani et al., 2017, per axis, as in He et al., "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022. https://arxiv.org/abs/2111.06377
    """
    freq, time = _axes(grid)
    return torch.cat([_waves(freq, dim // 2), _waves(time, dim // 2)], dim=1)


class _Fixed(nn.Module):
    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor

    def forward(self, place: Tensor) -> Tensor:
        return self.table[place]


class _Learned(nn.Module):
    def __init__(self, grid: Grid, dim: int, time: int, scale: float) -> None:
        super().__init__()
        self._columns = grid.time
        self._scale = scale
        self.embedding = nn.Parameter(torch.zeros(grid.freq, time, dim))

    def forward(self, place: Tensor) -> Tensor:
        return self._scale * self.embedding[place // self._columns, place % self._columns]


class _SeparableLearned(nn.Module):
    def __init__(self, grid: Grid, dim: int, freq: int, time: int, scale: float) -> None:
        super().__init__()
        self._columns = grid.time
        self._scale = scale
        self.freq_embedding = nn.Parameter(torch.zeros(freq, dim))
        self.time_embedding = nn.Parameter(torch.zeros(time, dim))

    def forward(self, place: Tensor) -> Tensor:
        rows, columns = place // self._columns, place % self._columns
        return self._scale * (self.freq_embedding[rows] + self.time_embedding[columns])


class _Rotary(nn.Module):
    def __init__(self, angles: Tensor) -> None:
        super().__init__()
        angles = torch.cat([angles, torch.zeros_like(angles[:1])])  # last row: place -1
        self.register_buffer("cosine", angles.cos().float().unsqueeze(1), persistent=False)
        self.register_buffer("sine", angles.sin().float().unsqueeze(1), persistent=False)
        self.cosine: Tensor
        self.sine: Tensor

    def forward(self, place: Tensor) -> Rotation:
        return Rotation(self.cosine[place], self.sine[place])


def _axes(grid: Grid) -> tuple[Tensor, Tensor]:
    """Returns the row and the column of each place, each `(patches,)`."""
    rows = repeat(torch.arange(grid.freq), "freq -> (freq time)", time=grid.time)
    columns = repeat(torch.arange(grid.time), "time -> (freq time)", freq=grid.freq)
    return rows, columns


def _waves(place: Tensor, dim: int) -> Tensor:
    angles = _angles(place, dim // 2, 10000.0)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def _angles(place: Tensor, rates: int, base: float) -> Tensor:
    """Computes angles at `rates` frequencies from 1 down to nearly 1 / base.

    float64 `(places, rates)`.
    """
    return place.double().outer(base ** -(torch.arange(rates, dtype=torch.float64) / rates))


def _length(name: str, table: int | None, grid: int) -> int:
    if table is not None and table < grid:
        raise ValueError(
            f"positions with `{name}` {table} are too few for a grid of {grid}; "
            "lengthen the table, shorten the crop or widen the patch"
        )
    return grid if table is None else table


def _check_one_row(positions: AbstractPositions, grid: Grid) -> None:
    if grid.freq > 1:
        name = type(positions).__name__
        raise ValueError(
            f"{name} encodes time only, but the grid has {grid.freq} rows of frequency; "
            f"use {name.replace('1D', '2D') if 'Rotary' in name else 'SineCosine'}"
        )


def _check_rotary(base: float, width: int, multiple: int) -> None:
    if base <= 1:
        raise ValueError(f"`base` must be above 1; got {base}")
    if width % multiple:
        raise ValueError(
            f"rotary positions need heads whose width is a multiple of {multiple}; got {width}; "
            "change `dim` or `heads`"
        )
