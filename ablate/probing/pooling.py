"""Pooling: sums over the tokens of clips, updated batch by batch so that no token is kept."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.probing.views import DELTAS, SEGMENTS, SEGMENTS_BY_ROW, Pooling

ORDERED: frozenset[Pooling] = frozenset({DELTAS, *SEGMENTS})  # poolings that need `TokenOrder`


@dataclass(frozen=True)
class TokenOrder:
    """Where tokens lie in time. Neighbours in time are neighbours among the tokens."""

    column: Tensor  # int64 (tokens,), counted from the start of the clip
    num_columns: Tensor  # int64 (tokens,), of the token's clip
    follows: Tensor  # bool (tokens,), whether a token is one column after the token before it


@dataclass
class Moments:
    """Sums and sums of squares over the tokens of units, in float64."""

    total: Tensor  # (units, dim)
    squares: Tensor  # (units, dim)
    count: Tensor  # (units, 1)

    @classmethod
    def compute(cls, tokens: Tensor, unit: Tensor, units: int) -> "Moments":
        """Sums float64 tokens (tokens, dim) by unit, int64 (tokens,)."""
        zeros = tokens.new_zeros(units, tokens.shape[1])
        return cls(
            zeros.index_add(0, unit, tokens),
            zeros.index_add(0, unit, tokens.square()),
            tokens.new_zeros(units, 1).index_add_(0, unit, tokens.new_ones(len(unit), 1)),
        )

    def __getitem__(self, chosen: slice | Tensor) -> "Moments":
        return Moments(self.total[chosen], self.squares[chosen], self.count[chosen])

    def add(self, earlier: "Moments") -> None:
        """Adds other sums to the first units."""
        units = len(earlier.total)
        for own, other in zip(self._sums, earlier._sums, strict=True):
            own[:units] += other

    @property
    def mean(self) -> Tensor:
        """The mean of each unit, (units, dim); 0 without tokens."""
        return self.total / self.count.clamp(min=1)

    @property
    def std(self) -> Tensor:
        """The standard deviation of each unit, (units, dim); 0 without tokens."""
        squares = self.squares / self.count.clamp(min=1)
        return (squares - self.mean.square()).clamp(min=0).sqrt()

    @property
    def _sums(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.total, self.squares, self.count


@dataclass
class Sums:
    """Sums over the tokens of units (clips or moments), in float64 on the device of the tokens.

    Sums that no requested pooling needs are None.
    """

    total: Tensor  # (units, rows, dim)
    count: Tensor  # (units, rows, 1)
    squares: Tensor | None  # (units, dim), for `mean_std` and `deltas`
    maximum: Tensor | None  # (units, dim), for `max` and `mean_max`
    differences: tuple[Moments, ...] = ()  # first and second differences in time, for `deltas`
    # by pooling; a unit has as many parts as it has stretches, or rows of stretches
    segments: dict[Pooling, Moments] = field(default_factory=dict)

    @classmethod
    def compute(
        cls,
        tokens: Tensor,
        unit: Tensor,
        row: Tensor,
        *,
        units: int,
        rows: int,
        poolings: Collection[Pooling],
        order: TokenOrder | None = None,
    ) -> "Sums":
        """Sums tokens by unit and grid row.

        Args:
            tokens: (tokens, dim).
            unit: int64 (tokens,), the unit of each token.
            row: int64 (tokens,), the row of the grid of each token.
            units: Number of units.
            rows: Number of rows.
            poolings: The poolings that will be computed from the sums.
            order: Where the tokens lie in time, for poolings in `ORDERED`.
        """
        tokens, dim = tokens.double(), tokens.shape[1]
        cell = unit * rows + row
        total = tokens.new_zeros(units * rows, dim).index_add_(0, cell, tokens)
        count = tokens.new_zeros(units * rows, 1).index_add_(0, cell, tokens.new_ones(len(cell), 1))
        squares = maximum = None
        if {"mean_std", DELTAS} & set(poolings):
            squares = tokens.new_zeros(units, dim).index_add_(0, unit, tokens.square())
        if {"max", "mean_max"} & set(poolings):
            maximum = tokens.new_full((units, dim), -torch.inf).scatter_reduce_(
                0, unit.unsqueeze(1).expand_as(tokens), tokens, "amax"
            )
        sums = cls(total.view(units, rows, dim), count.view(units, rows, 1), squares, maximum)
        if order is not None and DELTAS in poolings:
            sums.differences = _sum_differences(tokens, unit, units, order)
        if order is not None:
            for pooling in SEGMENTS.keys() & set(poolings):
                sums.segments[pooling] = _sum_parts(tokens, unit, row, sums, order, pooling)
        return sums

    def __getitem__(self, chosen: slice | Tensor) -> "Sums":
        units, rows, _ = self.total.shape
        return Sums(
            self.total[chosen],
            self.count[chosen],
            None if self.squares is None else self.squares[chosen],
            None if self.maximum is None else self.maximum[chosen],
            tuple(moments[chosen] for moments in self.differences),
            {
                pooling: moments[_expand(chosen, _count_parts(pooling, rows), units)]
                for pooling, moments in self.segments.items()
            },
        )

    def add_to_first(self, earlier: "Sums") -> None:
        """Adds the sums of the same clip from an earlier batch to the first unit."""
        self.total[0] += earlier.total[0]
        self.count[0] += earlier.count[0]
        if self.squares is not None and earlier.squares is not None:
            self.squares[0] += earlier.squares[0]
        if self.maximum is not None and earlier.maximum is not None:
            self.maximum[0] = torch.maximum(self.maximum[0], earlier.maximum[0])
        for moments, before in zip(self.differences, earlier.differences, strict=True):
            moments.add(before)
        for pooling, moments in self.segments.items():
            moments.add(earlier.segments[pooling])

    def pool(self, pooling: Pooling) -> npt.NDArray[np.float32]:
        """Computes one vector per unit.

        Every unit must have a token, and the sums must have been computed for this pooling.

        Returns:
            (units, dim); (units, 2 dim) for `mean_std`, (units, rows * dim) for `concat_freq`,
            (units, 4 dim) for `deltas`, (units, 2 k dim) for k segments, and as many for each row
            for `segments4_freq`.
        """
        count = self.count.sum(dim=1)
        mean = self.total.sum(dim=1) / count
        if pooling == "concat_freq":
            # rows without a valid patch stay 0
            pooled = (self.total / self.count.clamp(min=1)).flatten(start_dim=1)
        elif pooling in ("mean_std", DELTAS):
            assert self.squares is not None
            std = (self.squares / count - mean.square()).clamp(min=0).sqrt()
            pooled = torch.cat([mean, std], dim=1)
            if pooling == DELTAS:
                pooled = torch.cat([pooled, *(each.std for each in self.differences)], dim=1)
        elif pooling in SEGMENTS:
            moments = self.segments[pooling]
            both = torch.cat([moments.mean, moments.std], dim=1)
            parts = _count_parts(pooling, self.total.shape[1])
            pooled = both.view(len(mean), parts * both.shape[1])
        elif pooling in ("max", "mean_max"):
            assert self.maximum is not None
            pooled = self.maximum if pooling == "max" else mean + self.maximum
        else:
            pooled = mean
        vectors: npt.NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


def _sum_differences(
    tokens: Tensor, unit: Tensor, units: int, order: TokenOrder
) -> tuple[Moments, Moments]:
    """Sums the first and second differences between tokens that follow each other in time."""
    first, follows = tokens.diff(dim=0), order.follows[1:]
    second, both = first.diff(dim=0), follows[1:] & follows[:-1]
    return (
        Moments.compute(first[follows], unit[1:][follows], units),
        Moments.compute(second[both], unit[2:][both], units),
    )


def _sum_parts(
    tokens: Tensor, unit: Tensor, row: Tensor, sums: Sums, order: TokenOrder, pooling: Pooling
) -> Moments:
    """Sums tokens by unit and by the equal stretch of the clip, and perhaps row, they lie in."""
    units, rows = sums.total.shape[:2]
    part = order.column * SEGMENTS[pooling] // order.num_columns
    if pooling in SEGMENTS_BY_ROW:
        part = part * rows + row
    parts = _count_parts(pooling, rows)
    return Moments.compute(tokens, unit * parts + part, units * parts)


def _count_parts(pooling: Pooling, rows: int) -> int:
    """Counts the parts of a unit that a pooling by stretches keeps apart."""
    return SEGMENTS[pooling] * (rows if pooling in SEGMENTS_BY_ROW else 1)


def _expand(chosen: slice | Tensor, parts: int, units: int) -> Tensor:
    """Returns the indices of the parts of the chosen units."""
    of_unit = torch.arange(units * parts).view(units, parts)
    chosen = chosen.cpu() if isinstance(chosen, Tensor) else chosen
    return of_unit[chosen].flatten()
