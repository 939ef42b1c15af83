"""Predictions of clips are kept, in the order of the clips."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ablate.core.io import DamagedFileError
from ablate.runs.predictions import (
    ClipPredictions,
    Kind,
    PredictionLog,
    read_predictions,
    write_predictions,
)


def write_and_read(kept: ClipPredictions) -> ClipPredictions:
    with TemporaryDirectory() as folder:
        write_predictions(Path(folder) / "k.safetensors", [kept])
        assert read_predictions(Path(folder) / "k.safetensors", "other") == []
        [read] = read_predictions(Path(folder) / "k.safetensors", kept.pooling)
    return read


@given(st.integers(1, 3), st.integers(1, 30), st.sampled_from([3, 40_000]), st.integers(0, 99))
def test_what_is_written_is_read(seeds: int, clips: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=clips)
    predicted, log = draw.integers(classes, size=(seeds, clips)), PredictionLog()
    for number in range(seeds):
        order = draw.permutation(clips)  # as folds come, each with some clips
        for piece in np.array_split(order, 2):
            log.add("test", number, piece, predicted[number, piece], labels[piece])
    names = tuple(f"c{number}" for number in range(classes))
    [kept] = log.build("layer3.mean", "single", names)
    read = write_and_read(kept)
    assert (read.pooling, read.part, read.classes) == ("layer3.mean", "test", names)
    assert read.clips.tolist() == [*range(clips)]
    assert (read.predicted == predicted).all()
    assert (read.correct == (predicted == labels)).all()
    assert len({*read.groups.tolist()}) == clips  # each clip by itself


@given(st.sampled_from(["multi", "events"]), st.integers(1, 11), st.integers(0, 99))
def test_labels_of_several_classes_are_kept_by_row(kind: Kind, classes: int, seed: int) -> None:
    draw, log = np.random.default_rng(seed), PredictionLog()
    clips = np.repeat([2, 0, 1], 1 if kind == "multi" else [2, 1, 3])
    truth = draw.random((len(clips), classes)) > 0.5
    scores = draw.random((len(clips), classes)).astype(np.float32)
    predicted = scores if kind == "multi" else scores > 0.5
    log.add("valid", 0, clips, predicted, truth)
    groups = np.array([0, 1, 0])  # by clip
    [kept] = log.build(
        "mean", kind, tuple("abcdefghijk"[:classes]), lambda rows: (groups[rows], ("x", "y"))
    )
    read, order = write_and_read(kept), np.argsort(clips, kind="stable")
    assert (read.kind, read.part) == (kind, "valid")
    assert (read.truth == truth[order]).all()
    assert np.abs(read.predicted[0].astype(float) - predicted[order]).max() < 1e-3
    assert [read.group_names[group] for group in read.groups] == [
        ("x", "y", "x")[clip] for clip in clips[order]
    ]


def test_names_of_single_clips_are_kept_on_request(tmp_path: Path) -> None:
    log = PredictionLog()
    log.add("test", 0, np.arange(2), np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64))
    [kept] = log.build("mean", "single", ("a", "b"), lambda rows: (rows, ("x.wav", "y.wav")))
    for keep_names, names in ((False, ("0", "1")), (True, ("x.wav", "y.wav"))):
        write_predictions(tmp_path / "k.safetensors", [kept], keep_names=keep_names)
        [read] = read_predictions(tmp_path / "k.safetensors")
        assert (read.has_names, read.group_names) == (keep_names, names)


def test_no_predictions_leave_no_file(tmp_path: Path) -> None:
    write_predictions(tmp_path / "k.safetensors", [])
    assert not [*tmp_path.iterdir()]
    assert read_predictions(tmp_path / "k.safetensors") == []


def test_a_file_that_cannot_be_used_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "k.safetensors"
    save_file({"a": np.zeros(1)}, file, {"format": "0"})
    with pytest.raises(ValueError, match=r"expected predictions of format 2; got 0; delete it and"):
        read_predictions(file)
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DamagedFileError, match=r"cannot be read .*; delete it and k.json"):
        read_predictions(file)
