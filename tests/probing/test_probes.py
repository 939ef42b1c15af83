"""Probes against slow and obvious twins."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from ablate.probing.knn import KNN
from ablate.probing.linear import Logistic
from ablate.probing.probe import AbstractProbe, Features, examine, standardise
from ablate.probing.tasks import find_tasks, pretraining_clips
from ablate.probing.views import TOKENS, Views
from tests.probing.conftest import clip, clouds, guessed


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
def test_knn_agrees_with_a_double_loop(k):
    known, labels = clouds()
    asked, _ = clouds(20, seed=1)
    expected = []
    for query in asked:
        cosines = [
            float(query @ row / np.linalg.norm(query) / np.linalg.norm(row)) for row in known
        ]
        votes = np.zeros(3)
        for index in np.argsort(cosines)[::-1][:k]:
            votes[labels[index]] += np.exp(cosines[index] / 0.07)
        expected.append(votes.argmax())
    assert guessed(KNN(k=k), known, labels, asked).tolist() == expected


def test_knn_does_not_care_how_long_a_vector_is():
    known, labels = clouds()
    asked, _ = clouds(20, seed=1)
    lengths = np.random.default_rng(2).uniform(0.1, 10, size=(len(known), 1)).astype(np.float32)
    expected = guessed(KNN(), known, labels, asked)
    assert np.array_equal(guessed(KNN(), known * lengths, labels, asked), expected)


def test_logistic_regression_separates_what_a_line_separates():
    known, labels = clouds(300)
    asked, truth = clouds(60, seed=1)
    assert (guessed(Logistic(), known, labels, asked) == truth).mean() > 0.85


def test_features_are_scaled_by_the_known_clips_alone():
    features, _ = clouds()
    known = np.arange(30)
    features[30:] += 100
    scaled = standardise(features, known)
    assert scaled[known].mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)
    assert scaled[known].std(axis=0) == pytest.approx(np.ones(5), abs=1e-5)


def test_a_constant_dimension_stays_finite():
    features, _ = clouds()
    features[:, 2] = 7
    assert np.isfinite(standardise(features, np.arange(30))).all()
    assert (standardise(features, np.arange(30))[:, 2] == 0).all()


@dataclass(frozen=True)
class Sees(AbstractProbe):
    """Knows the answer for clips that it was shown, and answers 0 for all others."""

    def predict(self, lesson):
        shown = {
            row.tobytes(): label
            for row, label in zip(lesson.features, lesson.labels, strict=True)
            if label >= 0
        }
        told = [shown.get(row.tobytes(), 0) for row in lesson.features[lesson.asked]]
        return np.eye(lesson.classes)[told]


@dataclass(frozen=True, kw_only=True)
class Weighs(AbstractProbe):
    """Reads tokens and looks at nothing but how those of the known clips are scaled."""

    views: Views = field(default_factory=lambda: Views(poolings=(TOKENS,)))
    reads_tokens: ClassVar[bool] = True

    def predict(self, lesson):
        assert lesson.bounds is not None
        known = [lesson.features[slice(*lesson.bounds[i : i + 2])] for i in lesson.known]
        tokens = np.concatenate(known)
        assert tokens.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-5)
        assert tokens.std(axis=0) == pytest.approx(np.ones(4), abs=1e-5)
        return np.eye(lesson.classes)[np.zeros(len(lesson.asked), dtype=int)]


def test_tokens_are_scaled_by_those_of_the_known_clips_alone():
    generator = np.random.default_rng(0)
    clips = [clip(i, "xy"[i % 2], split="train" if i < 20 else "test") for i in range(40)]
    counts = generator.integers(2, 6, size=40)
    loud = np.repeat(1 + 9.0 * (np.arange(40) % 20 > 9), counts)  # the later ones of each part
    rows = generator.normal(size=(counts.sum(), 4)) * loud[:, None]
    [task] = find_tasks(clips)
    assert examine(Weighs(), Features(rows.astype(np.float32), counts), task)["test"] == 50


def test_no_examined_clip_is_shown_to_the_probe_before():
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    clips = [clip(i, "xy"[i % 2], fold=str(i // 8)) for i in range(40)]
    [task] = find_tasks(clips)
    score = examine(Sees(), Features.of(features), task)
    assert score["folds"] == [50.0] * 5  # of label 0 by the blind guess alone
    assert score["test"] == 50.0
    assert score["valid"] is None


def test_splits_are_examined_apart_and_learn_from_the_training_split_alone():
    features, labels = clouds(90)
    parts = ["train", "valid", "test"]
    clips = [clip(i, str(labels[i]), split=parts[i // 30]) for i in range(90)]
    [task] = find_tasks(clips)
    [examination] = task.examinations()
    assert set(examination.asked) == {"valid", "test"}
    assert examination.known.tolist() == list(range(30))
    for asked in examination.asked.values():
        assert not set(examination.known) & set(asked)
    assert examine(KNN(), Features.of(features), task)["test"] > 50


def test_tasks_keep_their_own_clips_and_labels():
    clips = [clip(i, "ab"[i % 2], task="xy"[i // 10], split="train") for i in range(20)]
    first, second = find_tasks(clips)
    assert (first.name, second.name) == ("x", "y")
    assert first.clips.tolist() == list(range(10))
    assert second.clips.tolist() == list(range(10, 20))
    assert second.labels.tolist() == [0, 1] * 5


def test_folds_are_all_pretrained_on_and_of_splits_only_train():
    clips = [clip(0, "a", split="train"), clip(1, "a", split="test"), clip(2, "a", fold="1")]
    assert pretraining_clips(clips).tolist() == [0, 2]


def test_a_sound_in_several_tasks_is_pretrained_on_once():
    clips = [
        clip(i, "a", task=task, split=split, fold=fold)
        for task in ("one", "two")
        for i, (split, fold) in enumerate([("train", ""), ("test", ""), ("", "1")])
    ]
    assert pretraining_clips(clips).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (lambda: KNN(k=0), "`k` must be at least 1; got 0"),
        (lambda: KNN(temperature=0.0), "`temperature` must be above 0"),
        (lambda: Logistic(strength=-1.0), "`strength` must be above 0"),
    ],
)
def test_impossible_probes_are_refused(probe, message):
    with pytest.raises(ValueError, match=message):
        probe()
