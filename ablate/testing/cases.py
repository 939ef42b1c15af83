"""Inputs of maskers: grids and clips, as strategies of Hypothesis."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.model.masking import Clips, Grid

# (rows, columns) of AudioMAE, M2D and Audio-JEPA; of an image, strips, and a tiny clip
NAMED_GRIDS = (Grid(8, 64), Grid(5, 38), Grid(8, 16), Grid(14, 14), Grid(1, 32), Grid(2, 3))


class Case(NamedTuple):
    """The input of a masker."""

    grid: Grid
    columns: tuple[int, ...]  # (batch,), the number of columns of each clip that are not padding
    progress: float
    seed: int

    @property
    def valid(self) -> Tensor:
        """Marks the patches that are not padding, bool (batch, patches)."""
        times = torch.arange(self.grid.time) < torch.tensor(self.columns).unsqueeze(-1)
        return times.unsqueeze(1).expand(-1, self.grid.freq, -1).flatten(1)

    @property
    def clips(self) -> Clips:
        """The clips without content."""
        return Clips(grid=self.grid, valid=self.valid, progress=self.progress)


@st.composite
def grids(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256) -> Grid:
    """Draws grids of at least two patches, including thin and tiny ones."""
    freq = draw(st.integers(1, max_freq))
    return Grid(freq, draw(st.integers(1 if freq > 1 else 2, max_time)))


@st.composite
def cases(draw: st.DrawFn, max_freq: int = 16, max_time: int = 256, max_batch: int = 8) -> Case:
    """Draws inputs of a masker: clips of unequal length, each with at least two valid patches."""
    grid = draw(grids(max_freq, max_time))
    least = 1 if grid.freq > 1 else 2
    lengths = st.integers(least, grid.time)
    columns = draw(st.lists(lengths, min_size=1, max_size=max_batch))
    return Case(grid, tuple(columns), draw(st.floats(0, 1)), draw(st.integers(0, 2**32)))


def get_profile(max_examples: int) -> settings:
    """Returns settings of Hypothesis that draw the same inputs in every run."""
    return settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )


@contextmanager
def forbid_global_generators() -> Iterator[None]:
    """Asserts that the generators of torch, numpy and Python are not used inside."""
    before = torch.get_rng_state(), _get_numpy_state(), random.getstate()
    yield
    assert torch.equal(before[0], torch.get_rng_state()), "torch's global generator was used"
    assert before[1] == _get_numpy_state(), "numpy's generator was used"
    assert before[2] == random.getstate(), "Python's global generator was used"


def _get_numpy_state() -> tuple[bytes, tuple[object, ...]]:
    """Returns the state of numpy's global generator; comparing its text takes far longer."""
    _, key, *rest = np.random.get_state()
    return np.asarray(key).tobytes(), tuple(rest)
