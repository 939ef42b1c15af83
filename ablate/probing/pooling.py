"""Pooling: sums over the tokens of clips, updated batch by batch so that no token is kept."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.probing.views import Pooling


@dataclass
class Sums:
    """Sums over the tokens of units (clips or moments), in float64 on the device of the tokens.

    Sums that no requested pooling needs are None.
    """

    total: Tensor  # (units, rows, dim)
    count: Tensor  # (units, rows, 1)
    squares: Tensor | None  # (units, dim), for `mean_std`
    maximum: Tensor | None  # (units, dim), for `max` and `mean_max`

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
    ) -> "Sums":
        """Sums tokens by unit and grid row.

        Args:
            tokens: (tokens, dim).
            unit: int64 (tokens,), the unit of each token.
            row: int64 (tokens,), the row of the grid of each token.
            units: Number of units.
            rows: Number of rows.
            poolings: The poolings that will be computed from the sums.
        """
        tokens, dim = tokens.double(), tokens.shape[1]
        cell = unit * rows + row
        total = tokens.new_zeros(units * rows, dim).index_add_(0, cell, tokens)
        count = tokens.new_zeros(units * rows, 1).index_add_(0, cell, tokens.new_ones(len(cell), 1))
        squares = maximum = None
        if "mean_std" in poolings:
            squares = tokens.new_zeros(units, dim).index_add_(0, unit, tokens.square())
        if {"max", "mean_max"} & set(poolings):
            maximum = tokens.new_full((units, dim), -torch.inf).scatter_reduce_(
                0, unit.unsqueeze(1).expand_as(tokens), tokens, "amax"
            )
        return cls(total.view(units, rows, dim), count.view(units, rows, 1), squares, maximum)

    def __getitem__(self, chosen: slice | Tensor) -> "Sums":
        return Sums(
            self.total[chosen],
            self.count[chosen],
            None if self.squares is None else self.squares[chosen],
            None if self.maximum is None else self.maximum[chosen],
        )

    def add_to_first(self, earlier: "Sums") -> None:
        """Adds the sums of the same clip from an earlier batch to the first unit."""
        self.total[0] += earlier.total[0]
        self.count[0] += earlier.count[0]
        if self.squares is not None and earlier.squares is not None:
            self.squares[0] += earlier.squares[0]
        if self.maximum is not None and earlier.maximum is not None:
            self.maximum[0] = torch.maximum(self.maximum[0], earlier.maximum[0])

    def pool(self, pooling: Pooling) -> npt.NDArray[np.float32]:
        """Computes one vector per unit.

        Every unit must have a token, and the sums must have been computed for this pooling.

        Returns:
            (units, dim); (units, 2 dim) for `mean_std`, (units, rows * dim) for `concat_freq`.
        """
        count = self.count.sum(dim=1)
        mean = self.total.sum(dim=1) / count
        if pooling == "concat_freq":
            # rows without a valid patch stay 0
            pooled = (self.total / self.count.clamp(min=1)).flatten(start_dim=1)
        elif pooling == "mean_std":
            assert self.squares is not None
            std = (self.squares / count - mean.square()).clamp(min=0).sqrt()
            pooled = torch.cat([mean, std], dim=1)
        elif pooling in ("max", "mean_max"):
            assert self.maximum is not None
            pooled = self.maximum if pooling == "max" else mean + self.maximum
        else:
            pooled = mean
        vectors: npt.NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors
