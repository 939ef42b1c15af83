"""The official protocol of X-ARES: pieces, padding, labels of moments, segments and settings."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score

from ablate.audio.annotations import Event
from ablate.audio.mel import LogMel
from ablate.parts import get_identity
from ablate.probing.knn import XaresKNN
from ablate.probing.neural import XaresLinear
from ablate.probing.probe import Features
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import Task
from ablate.probing.xares_events import EventBatches, compute_segment_f1
from ablate.probing.xares_protocol import apply_protocol
from ablate.probing.xares_tasks import TASKS, TASKS_BY_NAME

MEL = LogMel(bands=8)
HOP = 0.01


@dataclass
class Clips:
    """Clips whose frames count up, so that every frame is known."""

    lengths: list[int]

    def read_frames(self, index, start, stop):
        numbers = np.arange(start, min(stop, self.lengths[index]), dtype=np.float16)
        return np.repeat((numbers + 0.5)[:, None], MEL.bands, axis=1)


def make_task(name, parts, kind="single", **fields):
    clips = sum(map(len, parts.values()))
    return Task(
        name=name,
        kind=kind,
        classes=("a", "b"),
        clips=np.arange(clips),
        labels=fields.pop("labels", np.arange(clips) % 2),
        parts={part: np.array(items) for part, items in parts.items()},
        folded=False,
        **fields,
    )


@given(st.lists(st.integers(1, 40), min_size=3, max_size=40), st.integers(1, 2))
def test_consecutive_clips_of_a_part_are_padded_to_the_longest_of_sixteen(lengths, num_test):
    parts = {"test": range(num_test), "train": range(num_test, len(lengths))}
    task, pieces = apply_protocol(make_task("vocalsound", parts), Clips(lengths), MEL)
    expected = []
    for items in parts.values():
        for start in range(0, len(items), 16):
            batch = [lengths[item] for item in items[start : start + 16]]
            expected += [max(batch)] * len(batch)
    assert pieces.lengths.tolist() == expected
    assert np.array_equal(task.labels, np.arange(len(lengths)) % 2)
    silence = MEL(torch.zeros(16000), 16000)[50].half().numpy()
    for index, (length, padded) in enumerate(zip(lengths, expected, strict=True)):
        frames = pieces.frames(index)
        assert np.array_equal(frames[:length], Clips(lengths).read_frames(index, 0, 100))
        assert np.array_equal(frames[length:], np.tile(silence, (padded - length, 1)))
        assert np.array_equal(pieces.read_frames(index, 3, 9), frames[3:9])


def test_clips_of_some_tasks_are_cut_into_pieces_that_keep_their_label():
    crop = round(TASKS_BY_NAME["voxceleb1"].crop_seconds / HOP)  # 6 s
    lengths = [crop * 2 + 5, 30, crop, crop + 7]
    parts = {"train": [0, 1], "valid": [2], "test": [3]}
    task, pieces = apply_protocol(make_task("voxceleb1", parts), Clips(lengths), MEL)
    assert pieces.clips.tolist() == [0, 1, 2, 3]
    assert pieces.starts.tolist() == [0, 0, 0, 0]
    assert pieces.lengths.tolist() == [crop] * 4
    assert pieces.sizes.tolist() == [crop, 30, crop, crop]
    assert task.labels.tolist() == [0, 1, 0, 1]
    assert {part: items.tolist() for part, items in task.parts.items()} == {
        "train": [0, 1],
        "valid": [2],
        "test": [3],
    }


def test_a_clip_has_one_piece_in_every_batch_that_it_reaches():
    crop = round(TASKS_BY_NAME["voxceleb1"].crop_seconds / HOP)
    task = make_task("voxceleb1", {"train": [0, 1], "test": [2]})
    _, pieces = apply_protocol(task, Clips([crop * 14, crop * 20, crop]), MEL)
    # pieces 0-13 are of the first clip, 14-33 of the second; batches begin at 0, 16 and 32
    assert pieces.clips.tolist() == [0, 1, 1, 1, 2]
    assert pieces.starts.tolist() == [0, 0, 2 * crop, 18 * crop, 0]


def test_tasks_that_are_encoded_one_by_one_are_not_padded():
    for name in ("maestro", "fluentspeechcommands", "vocalimitations"):
        parts = {"train": [0, 1], "test": [2]}
        _, pieces = apply_protocol(make_task(name, parts), Clips([5, 9, 7]), MEL)
        assert pieces.lengths.tolist() == [5, 9, 7]


def make_events(**fields):
    """Returns features and a task of three clips with events; the feature is the event."""
    events = (
        (Event("a", 0.25, 0.55),),
        (Event("b", 0.0, 0.1), Event("a", 0.31, 5.0)),
        (Event("b", 0.1, 0.3),),
    )
    counts = np.array([8, 5, 6])
    rows = np.random.default_rng(0).normal(size=(19, 4)).astype(np.float32)
    task = make_task(
        "desed", {"train": [0, 1], "test": [2]}, "events", events=events, labels=np.zeros((3, 2))
    )
    return Features(rows, counts, 0.1), replace(task, **fields)


def test_a_batch_of_clips_is_padded_and_its_events_start_and_end_at_the_next_moment():
    features, task = make_events()
    rows, labels = EventBatches(features, task).load(np.array([1, 0]))
    assert torch.equal(rows[0, :5], torch.from_numpy(features.rows[8:13]))
    assert torch.equal(rows[1], torch.from_numpy(features.rows[:8]))
    assert not rows[0, 5:].any()
    assert labels[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]  # to the end of the batch
    assert labels[0, :, 1].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert labels[1, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert not labels[1, :, 1].any()


segments = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.just(3)))


@given(st.data())
def test_the_f1_of_segments_is_that_of_scikit_learn(data):
    truth = data.draw(segments)
    predicted = data.draw(arrays.arrays(bool, truth.shape))
    for average in ("macro", "micro"):
        actual = compute_segment_f1(
            torch.from_numpy(predicted), torch.from_numpy(truth), average=average, classes=3
        )
        expected = f1_score(truth, predicted, average=average, zero_division=0.0)
        assert actual == pytest.approx(100 * expected)


def test_classes_of_the_benchmark_that_do_not_occur_count_as_zero():
    truth = torch.ones(4, 2, dtype=torch.bool)
    assert compute_segment_f1(truth, truth, average="macro", classes=10) == pytest.approx(20)
    assert compute_segment_f1(truth, truth, average="micro", classes=10) == pytest.approx(100)
    probe = XaresLinear(protocol="official")
    scores, labels = np.eye(2, dtype=np.float32), np.eye(2, dtype=bool)
    assert probe.measure(scores, labels)["map"] == pytest.approx(100)
    assert probe.measure_task("fsd50k", scores, labels)["map"] == pytest.approx(
        1
    )  # averaged over 200 classes


def test_events_that_features_show_are_learnt(monkeypatch):
    counts = np.full(40, 100)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 7, size=40)
    task = make_task(
        "desed",
        {"train": list(range(30)), "test": list(range(30, 40))},
        "events",
        events=tuple((Event("ab"[n % 2], float(s), float(s) + 2),) for n, s in enumerate(starts)),
        labels=np.zeros((40, 2)),
    )
    rows = rng.normal(size=(4000, 8)).astype(np.float32) / 10
    for clip, start in enumerate(starts):
        rows[clip * 100 + start * 10 :][:20, clip % 2] += 3
    listed = replace(TASKS_BY_NAME["desed"], num_classes=2, batch=2)
    monkeypatch.setitem(TASKS_BY_NAME, "desed", listed)
    probe = XaresLinear(protocol="official", rate=0.02)
    score = score_probe(probe, Features(rows, counts, 0.1), task)
    assert score["metric"] == "segment_f1"
    assert score["test"] > 75  # marking everything gives 18


def test_each_task_is_trained_with_the_settings_of_the_benchmark():
    for task in TASKS:
        probe = XaresLinear(protocol="official", batch=7, epochs=3).for_task(task.name)
        assert (probe.batch, probe.epochs) == (task.batch, task.epochs)
    assert XaresLinear(batch=7, epochs=3).for_task("esc50").batch == 7
    assert TASKS_BY_NAME["maestro"].pos_weight == 10
    assert not TASKS_BY_NAME["desed"].knn


def test_scores_of_the_protocol_without_padding_stay_valid():
    for probe in (XaresKNN, XaresLinear):
        assert "protocol" not in get_identity(probe())
        assert get_identity(probe(protocol="official"))["protocol"] == "official"
