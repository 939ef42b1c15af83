"""Metrics against slow reference implementations, and events from label to score."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.annotations import Event, infer_label_kind, parse_classes, parse_events
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.probing.metrics import (
    SegmentLabels,
    equal_error_rate,
    find_segments,
    mean_average_precision,
    measure,
    recall_at_1,
    segment_error_rate,
    segment_f1,
)
from ablate.probing.neural import Linear
from ablate.probing.probe import Features
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import find_clip_groups, find_tasks, has_shared_recordings
from ablate.runs.predictions import PredictionLog
from tests.probing.conftest import clip

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_average_precision_is_the_mean_precision_at_each_positive(seed):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(20, 3)).astype(np.float32)
    truth = generator.random((20, 3)) < 0.3
    precisions = []
    for column in range(3):
        order = np.argsort(-scores[:, column])
        hits = truth[order, column]
        if hits.any():
            precisions.append(np.mean([hits[: n + 1].mean() for n in np.flatnonzero(hits)]))
    expected = 100 * np.mean(precisions) if precisions else 0
    assert mean_average_precision(scores, truth) == pytest.approx(expected)


@given(seed=SEEDS)
def test_the_equal_error_rate_lies_between_both_error_rates(seed):
    generator = np.random.default_rng(seed)
    truth = generator.random(60) < 0.4
    truth[:2] = [True, False]
    scores = generator.normal(size=60).astype(np.float32) + truth
    rate = equal_error_rate(scores, truth) / 100
    errors = [
        ((scores[~truth] >= t).mean(), (scores[truth] < t).mean())
        for t in [-np.inf, *np.sort(scores), np.inf]
    ]
    assert min(max(pair) for pair in errors) >= rate - 1e-9
    assert max(min(pair) for pair in errors) <= rate + 1e-9


def test_a_perfect_and_an_inverted_detector_have_rates_of_0_and_100():
    truth = np.array([True, True, False, False])
    scores = np.array([4, 3, 2, 1], dtype=np.float32)
    assert equal_error_rate(scores, truth) == 0
    assert equal_error_rate(-scores, truth) == 100


def test_only_a_two_class_task_has_an_equal_error_rate():
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], dtype=np.float32)
    assert measure(scores, np.array([0, 1, 1])) == {
        "accuracy": 100,
        "macro_f1": 100,
        "eer": 0,
    }
    assert "eer" not in measure(np.eye(3, dtype=np.float32), np.arange(3))


def test_recall_at_1_counts_queries_whose_nearest_item_has_their_class():
    similarity = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    assert recall_at_1(similarity, np.array([1, 0])) == 100
    assert recall_at_1(similarity, np.array([1, 1])) == 50


def test_recall_at_1_counts_an_item_for_each_of_its_classes():
    similarity = np.array([[0.9, 0.9, 0.1], [0.9, 0.9, 0.1], [0.9, 0.9, 0.1]], dtype=np.float32)
    truth = np.array([[False, True, True], [False, False, True], [False, False, False]])
    assert recall_at_1(similarity, truth) == pytest.approx(100 / 3)


def test_the_kind_of_a_task_follows_from_its_labels():
    assert infer_label_kind(["dog", "cat"]) == "single"
    assert infer_label_kind(["dog", "dog;cat", "-"]) == "multi"
    assert parse_classes("-", "multi") == ()
    assert parse_classes(" dog; cat ", "multi") == ("dog", "cat")
    assert infer_label_kind(["dog@0-1", "-"]) == "events"
    assert parse_events("dog@0.5-1;a@b@2-3.25") == (Event("dog", 0.5, 1), Event("a@b", 2, 3.25))


@pytest.mark.parametrize(
    ("label", "message"), [("dog", "no times"), ("dog@2-1", "end after its start")]
)
def test_an_event_without_valid_times_raises(label, message):
    with pytest.raises(ValueError, match=message):
        parse_events(label)


def events_task(labels):
    [task] = find_tasks([clip(i, label, split="train") for i, label in enumerate(labels)])
    return task


def test_a_segment_has_every_event_that_overlaps_it():
    task = events_task(["a@0.2-1.5;b@3-4", "a@0-0.5", "-"])
    moments = np.array([8, 4, 4])  # half seconds
    scores = np.zeros((16, 2), dtype=np.float32)
    scores[3, 0] = 1  # clip 0, second 1: correct, but second 0 is missed
    scores[6, 1] = 1  # clip 0, second 3: correct
    scores[14, 0] = 1  # clip 2, second 1: wrong
    metrics = segment_f1(find_segments(scores, moments, task, np.arange(3), 0.5))
    a, b = 2 * 1 / (2 * 1 + 1 + 2), 1.0
    assert metrics["segment_f1"] == pytest.approx(100 * (a + b) / 2)
    assert metrics["segment_f1_micro"] == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 2))


@given(seed=SEEDS, classes=st.integers(1, 4))
def test_the_macro_mean_agrees_with_sed_eval(seed, classes):
    """Uses its formula, with `empty_system_output_handling="zero_score"`; moments are segments."""
    generator = np.random.default_rng(seed)
    truth, predicted = generator.random((2, 8, classes)) < 0.2  # two clips of four segments
    names = "abcd"[:classes]
    events = [
        tuple(Event(names[c], t, t + 1) for t, c in np.argwhere(clip).tolist())
        for clip in np.split(truth, 2)
    ]
    task = events_task([";".join(f"{name}@0-1" for name in names)])
    f1 = []
    for real, positive in zip(truth.T, predicted.T, strict=True):
        hits = (real & positive).sum()
        precision = hits / positive.sum() if positive.any() else 0.0
        recall = hits / real.sum() if real.any() else np.nan
        none = precision == 0 and recall == 0
        f1.append(0.0 if none else 2 * precision * recall / (precision + recall))
    expected = 0.0 if np.isnan(f1).all() else 100 * np.nanmean(f1)
    task, scores = replace(task, events=events), predicted.astype(np.float32)
    measured = segment_f1(find_segments(scores, np.array([4, 4]), task, np.arange(2), 1.0))
    assert measured["segment_f1"] == pytest.approx(expected)


@given(seed=SEEDS, classes=st.integers(1, 4))
def test_the_error_rate_counts_substitutions_deletions_and_insertions(seed, classes):
    truth, predicted = np.random.default_rng(seed).random((2, 8, classes)) < 0.3
    errors = 0
    for real, positive in zip(truth, predicted, strict=True):
        missed = sum(r and not p for r, p in zip(real, positive, strict=True))
        extra = sum(p and not r for r, p in zip(real, positive, strict=True))
        substitutions = min(missed, extra)
        errors += substitutions + (missed - substitutions) + (extra - substitutions)
    segments = SegmentLabels(np.zeros(8, dtype=np.int64), predicted, truth)
    expected = 100 * errors / max(truth.sum(), 1)
    assert segment_error_rate(segments)["segment_error_rate"] == pytest.approx(expected)


def test_a_linear_probe_detects_events():
    generator = np.random.default_rng(0)
    labels, rows = [], []
    for _ in range(60):
        start = generator.integers(0, 6) / 2
        labels.append(f"hum@{start}-{start + 1};hiss@{(start + 2) % 3}-{(start + 2) % 3 + 0.5}")
        moments = np.tile([0.0] * 6 + [4.0] * 2, (8, 1))  # a constant offset that layer norm keeps
        for event in parse_events(labels[-1]):
            rank = 3 * (event.name == "hum")
            moments[int(event.start * 2) : int(event.stop * 2), rank : rank + 3] += 3
        rows.append(moments + 0.3 * generator.normal(size=moments.shape))
    parts = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    clips = [clip(i, label, split=parts[i]) for i, label in enumerate(labels)]
    [task] = find_tasks(clips)
    features = Features(np.concatenate(rows).astype(np.float32), np.full(60, 8), 0.5)
    log = PredictionLog()
    score = score_probe(Linear(seeds=1, rate=1e-2, epochs=40), features, task, log.add)
    assert score["metric"] == "segment_f1"
    assert score["test"] > 80
    assert score["metrics"]["segment_error_rate"] < 40
    assert score["metrics"]["onset_f1_200ms"] > 60
    for kept in log.build("mean", task.kind, task.classes):
        segments = SegmentLabels(kept.clips, kept.predicted[0], kept.truth)
        assert segment_f1(segments)["segment_f1"] == pytest.approx(score[kept.part])
    uninformative = Features(np.ones_like(features.rows), features.counts, 0.5)
    assert score_probe(Linear(seeds=1, rate=1e-2), uninformative, task)["test"] < 70


def test_multilabel_tasks_are_scored_by_mean_average_precision():
    generator = np.random.default_rng(0)
    holds = generator.random((90, 3)) < 0.4
    labels = [";".join(np.array(["x", "y", "z"])[row]) or "-" for row in holds]
    parts = [("train", "valid", "test")[i // 30] for i in range(90)]
    [task] = find_tasks([clip(i, labels[i], split=parts[i]) for i in range(90)])
    features = holds @ generator.normal(size=(3, 8)) + 0.1 * generator.normal(size=(90, 8))
    log = PredictionLog()
    score = score_probe(
        Linear(seeds=1, epochs=30, batch=4, rate=1e-2),
        Features.from_vectors(features.astype("f")),
        task,
        log.add,
    )
    assert score["metric"] == "map"
    assert score["test"] > 80
    for kept in log.build("mean", task.kind, task.classes):
        expected = score[kept.part]
        assert mean_average_precision(kept.predicted[0], kept.truth) == pytest.approx(expected)


def test_recordings_in_several_tasks_are_detected():
    def build(*named: tuple[str, str, str]) -> ClipTable:
        return ClipTable.from_clips(ClipInfo(*each, split="test") for each in named)

    apart = [("a.wav", "x", "digit"), ("b.wav", "x", "digit"), ("c.wav", "y", "speaker")]
    assert not has_shared_recordings(build(*apart))
    assert has_shared_recordings(build(*apart, ("b.wav", "y", "speaker")))


def test_clips_of_one_group_or_recording_belong_together():
    paths = ["a.wav#t=0,1", "a.wav#t=1,2", "b.wav", "c.wav", "d.wav"]
    groups = ["", "", "", "ann", "ann"]
    clips = ClipTable.from_clips(
        ClipInfo(path, "x", "t", split="test", extra={"group": group})
        for path, group in zip(paths, groups, strict=True)
    )
    numbers, names = find_clip_groups(clips, np.array([4, 0, 1, 2, 3, 4]))
    assert [names[number] for number in numbers] == ["ann", "a.wav", "a.wav", "b.wav", "ann", "ann"]
