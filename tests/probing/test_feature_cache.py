"""The shelf: what lies on it is whole, or is produced again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ablate.probing.feature_cache import shelved
from ablate.probing.features import Block, Blocks
from ablate.probing.views import View

MEAN, MAX = View("mean"), View("max")
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
OWNERS = np.array([0, 1, 1, 2])


def fill(folder: Path) -> tuple[np.ndarray, list[View]]:
    """Shelves two views; returns what is read back of the first, and which were produced."""
    produced: list[View] = []

    def produce(views: Sequence[View]) -> Iterator[Blocks]:
        produced.extend(views)
        for owner in range(3):
            here = owner == OWNERS
            yield {view: Block(ROWS[here], OWNERS[here]) for view in views}

    found = shelved(folder, [MEAN, MAX], produce, num_clips=3)
    return np.array(found[MEAN].rows), produced


def test_what_is_there_is_not_produced_again(tmp_path: Path) -> None:
    for expected in ([MEAN, MAX], []):
        rows, produced = fill(tmp_path)
        assert np.array_equal(rows, ROWS)
        assert produced == expected


@pytest.mark.parametrize("size", [0, 10, 100, None])
def test_a_file_of_another_size_than_its_marker_says_is_produced_again(
    tmp_path: Path, size: int | None
) -> None:
    fill(tmp_path)
    file = tmp_path / "mean.f32"
    if size is None:
        file.unlink()
    else:
        file.write_bytes(b"\1" * size)
    rows, produced = fill(tmp_path)
    assert produced == [MEAN]
    assert np.array_equal(rows, ROWS)
