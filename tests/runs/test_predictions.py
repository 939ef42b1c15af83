"""Predictions of clips are kept exactly, in the order of the clips."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ablate.runs.predictions import PredictionLog, read_predictions, write_predictions


@given(st.integers(1, 3), st.integers(1, 30), st.sampled_from([3, 40_000]), st.integers(0, 99))
def test_what_is_written_is_read(seeds: int, clips: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=clips)
    predicted, log = draw.integers(classes, size=(seeds, clips)), PredictionLog()
    for number in range(seeds):
        order = draw.permutation(clips)  # as folds come, each with some clips
        for piece in np.array_split(order, 2):
            log.add("test", number, piece, predicted[number, piece])
    names = tuple(f"c{number}" for number in range(classes))
    [kept] = log.build("layer3.mean", labels, names)
    with TemporaryDirectory() as folder:
        write_predictions(Path(folder) / "k.safetensors", [kept])
        [read] = read_predictions(Path(folder) / "k.safetensors")
    assert (read.pooling, read.part, read.classes) == ("layer3.mean", "test", names)
    assert read.clips.tolist() == [*range(clips)]
    assert (read.predicted == predicted).all()
    assert (read.correct == (predicted == labels)).all()


def test_no_predictions_leave_no_file(tmp_path: Path) -> None:
    write_predictions(tmp_path / "k.safetensors", [])
    assert not [*tmp_path.iterdir()]
    assert read_predictions(tmp_path / "k.safetensors") == []


def test_another_format_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1)}, tmp_path / "k.safetensors", {"format": "0"})
    with pytest.raises(ValueError, match=r"expected predictions of format 1; got 0; delete the fi"):
        read_predictions(tmp_path / "k.safetensors")
