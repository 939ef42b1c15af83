"""The feature cache: incomplete files are computed again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import FeatureRows, RowsByView
from ablate.probing.views import View

MEAN, MAX = View("mean"), View("max")
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
OWNERS = np.array([0, 1, 1, 2])


def fill(folder: Path) -> tuple[np.ndarray, list[View]]:
    """Caches two views; returns the rows of the first, and the views that were computed."""
    computed: list[View] = []

    def compute(views: Sequence[View]) -> Iterator[RowsByView]:
        computed.extend(views)
        for owner in range(3):
            here = owner == OWNERS
            yield {view: FeatureRows(ROWS[here], OWNERS[here]) for view in views}

    features = load_or_compute(folder, [MEAN, MAX], compute, num_clips=3)
    return np.array(features[MEAN].rows), computed


def test_cached_features_are_not_computed_again(tmp_path: Path) -> None:
    for expected in ([MEAN, MAX], []):
        rows, computed = fill(tmp_path)
        assert np.array_equal(rows, ROWS)
        assert computed == expected


@pytest.mark.parametrize("size", [0, 10, 100, None])
def test_a_file_whose_size_differs_from_its_marker_is_computed_again(
    tmp_path: Path, size: int | None
) -> None:
    fill(tmp_path)
    file = tmp_path / "mean.f32"
    if size is None:
        file.unlink()
    else:
        file.write_bytes(b"\1" * size)
    rows, computed = fill(tmp_path)
    assert computed == [MEAN]
    assert np.array_equal(rows, ROWS)
