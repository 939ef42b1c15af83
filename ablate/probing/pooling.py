"""Pooling: many tokens become one vector, summed up as they come so that none need be kept."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.probing.views import Pooling


@dataclass
class Sums:
    """What the tokens of each of some units, clips or moments, add up to; float64.

    What no pooling asks for is None.
    """

    total: Tensor  # (units, rows, dim)
    count: Tensor  # (units, rows, 1)
    squares: Tensor | None  # (units, dim), for `mean_std`
    greatest: Tensor | None  # (units, dim), for `max`

    @classmethod
    def of(
        cls,
        tokens: Tensor,
        unit: Tensor,
        row: Tensor,
        *,
        units: int,
        rows: int,
        poolings: Collection[Pooling],
    ) -> "Sums":
        """Adds up (tokens, dim) by the unit and the row of the grid that each belongs to."""
        tokens, dim = tokens.double(), tokens.shape[1]
        cell = unit * rows + row
        total = tokens.new_zeros(units * rows, dim).index_add_(0, cell, tokens)
        count = tokens.new_zeros(units * rows, 1).index_add_(0, cell, tokens.new_ones(len(cell), 1))
        squares = greatest = None
        if "mean_std" in poolings:
            squares = tokens.new_zeros(units, dim).index_add_(0, unit, tokens.square())
        if "max" in poolings:
            greatest = tokens.new_full((units, dim), -torch.inf).scatter_reduce_(
                0, unit.unsqueeze(1).expand_as(tokens), tokens, "amax"
            )
        return cls(total.view(units, rows, dim), count.view(units, rows, 1), squares, greatest)

    def __getitem__(self, chosen: slice | Tensor) -> "Sums":
        return Sums(
            self.total[chosen],
            self.count[chosen],
            None if self.squares is None else self.squares[chosen],
            None if self.greatest is None else self.greatest[chosen],
        )

    def continue_from(self, earlier: "Sums") -> None:
        """Adds to the first unit what an earlier batch held of it."""
        self.total[0] += earlier.total[0]
        self.count[0] += earlier.count[0]
        if self.squares is not None and earlier.squares is not None:
            self.squares[0] += earlier.squares[0]
        if self.greatest is not None and earlier.greatest is not None:
            self.greatest[0] = torch.maximum(self.greatest[0], earlier.greatest[0])

    def pooled(self, pooling: Pooling) -> npt.NDArray[np.float32]:
        """Returns a vector for each unit, (units, dim).

        `mean_std` is 2 dim wide, `concat_freq` rows x dim. Every unit must have a token, and the
        pooling be one of those that were summed for.
        """
        count = self.count.sum(dim=1)
        mean = self.total.sum(dim=1) / count
        if pooling == "concat_freq":
            # a row without a real patch tells nothing; it stays 0
            found = (self.total / self.count.clamp(min=1)).flatten(start_dim=1)
        elif pooling == "mean_std":
            assert self.squares is not None, "it was summed for"
            std = (self.squares / count - mean.square()).clamp(min=0).sqrt()
            found = torch.cat([mean, std], dim=1)
        elif pooling == "max":
            assert self.greatest is not None, "it was summed for"
            found = self.greatest
        else:
            found = mean
        numbers: npt.NDArray[np.float32] = found.float().numpy()
        return numbers
