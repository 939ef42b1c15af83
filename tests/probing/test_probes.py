"""Probes against slow reference implementations, splits, and standardisation."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from ablate.probing.knn import KNN
from ablate.probing.linear import Logistic
from ablate.probing.probe import AbstractProbe, Features
from ablate.probing.scoring import score_probe, standardise
from ablate.probing.tasks import find_tasks, select_pretraining_clips
from ablate.probing.views import TOKENS, Views
from tests.probing.conftest import clip, make_clusters, predict_classes


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
def test_knn_agrees_with_a_double_loop(k):
    train, labels = make_clusters()
    query, _ = make_clusters(20, seed=1)
    expected = []
    for vector in query:
        cosines = [
            float(vector @ row / np.linalg.norm(vector) / np.linalg.norm(row)) for row in train
        ]
        votes = np.zeros(3)
        for index in np.argsort(cosines)[::-1][:k]:
            votes[labels[index]] += np.exp(cosines[index] / 0.07)
        expected.append(votes.argmax())
    assert predict_classes(KNN(k=k), train, labels, query).tolist() == expected


def test_knn_does_not_depend_on_the_norm_of_a_vector():
    train, labels = make_clusters()
    query, _ = make_clusters(20, seed=1)
    lengths = np.random.default_rng(2).uniform(0.1, 10, size=(len(train), 1)).astype(np.float32)
    expected = predict_classes(KNN(), train, labels, query)
    assert np.array_equal(predict_classes(KNN(), train * lengths, labels, query), expected)


def test_logistic_regression_separates_linearly_separable_classes():
    train, labels = make_clusters(300)
    query, truth = make_clusters(60, seed=1)
    assert (predict_classes(Logistic(), train, labels, query) == truth).mean() > 0.85


def test_features_are_standardised_by_the_training_clips_only():
    features, _ = make_clusters()
    train = np.arange(30)
    features[30:] += 100
    scaled = standardise(features, train)
    assert scaled[train].mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-5)
    assert scaled[train].std(axis=0) == pytest.approx(np.ones(5), abs=1e-5)


def test_a_constant_dimension_stays_finite():
    features, _ = make_clusters()
    features[:, 2] = 7
    assert np.isfinite(standardise(features, np.arange(30))).all()
    assert (standardise(features, np.arange(30))[:, 2] == 0).all()


@dataclass(frozen=True)
class Memorises(AbstractProbe):
    """Predicts the label of items whose label is visible, and 0 for all others."""

    def predict(self, data):
        visible = {
            row.tobytes(): label
            for row, label in zip(data.features, data.labels, strict=True)
            if label >= 0
        }
        predicted = [visible.get(row.tobytes(), 0) for row in data.features[data.query]]
        return np.eye(data.num_classes)[predicted]


@dataclass(frozen=True, kw_only=True)
class ChecksScale(AbstractProbe):
    """Reads tokens and checks that those of the training clips are standardised."""

    views: Views = field(default_factory=lambda: Views(poolings=(TOKENS,)))
    reads_tokens: ClassVar[bool] = True

    def predict(self, data):
        assert data.bounds is not None
        train = [data.features[slice(*data.bounds[i : i + 2])] for i in data.train]
        tokens = np.concatenate(train)
        assert tokens.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-5)
        assert tokens.std(axis=0) == pytest.approx(np.ones(4), abs=1e-5)
        return np.eye(data.num_classes)[np.zeros(len(data.query), dtype=int)]


def test_tokens_are_standardised_by_the_training_clips_only():
    generator = np.random.default_rng(0)
    clips = [clip(i, "xy"[i % 2], split="train" if i < 20 else "test") for i in range(40)]
    counts = generator.integers(2, 6, size=40)
    loud = np.repeat(1 + 9.0 * (np.arange(40) % 20 > 9), counts)  # the second half of each part
    rows = generator.normal(size=(counts.sum(), 4)) * loud[:, None]
    [task] = find_tasks(clips)
    assert score_probe(ChecksScale(), Features(rows.astype(np.float32), counts), task)["test"] == 50


def test_labels_of_held_out_clips_are_never_visible():
    features = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    clips = [clip(i, "xy"[i % 2], fold=str(i // 8)) for i in range(40)]
    [task] = find_tasks(clips)
    score = score_probe(Memorises(), Features.from_vectors(features), task)
    assert score["folds"] == [50.0] * 5  # predicting 0 everywhere is right for half of the clips
    assert score["test"] == 50.0
    assert score["valid"] is None


def test_only_the_training_split_is_trained_on():
    features, labels = make_clusters(90)
    parts = ["train", "valid", "test"]
    clips = [clip(i, str(labels[i]), split=parts[i // 30]) for i in range(90)]
    [task] = find_tasks(clips)
    [split] = task.splits()
    assert set(split.query) == {"valid", "test"}
    assert split.train.tolist() == list(range(30))
    for clips in split.query.values():
        assert not set(split.train) & set(clips)
    assert score_probe(KNN(), Features.from_vectors(features), task)["test"] > 50


def test_tasks_keep_their_own_clips_and_labels():
    clips = [clip(i, "ab"[i % 2], task="xy"[i // 10], split="train") for i in range(20)]
    first, second = find_tasks(clips)
    assert (first.name, second.name) == ("x", "y")
    assert first.clips.tolist() == list(range(10))
    assert second.clips.tolist() == list(range(10, 20))
    assert second.labels.tolist() == [0, 1] * 5


def test_pretraining_uses_all_folds_but_only_the_training_split():
    clips = [clip(0, "a", split="train"), clip(1, "a", split="test"), clip(2, "a", fold="1")]
    assert select_pretraining_clips(clips).tolist() == [0, 2]


def test_a_recording_in_several_tasks_is_selected_once():
    clips = [
        clip(i, "a", task=task, split=split, fold=fold)
        for task in ("one", "two")
        for i, (split, fold) in enumerate([("train", ""), ("test", ""), ("", "1")])
    ]
    assert select_pretraining_clips(clips).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (lambda: KNN(k=0), "`k` must be at least 1; got 0"),
        (lambda: KNN(temperature=0.0), "`temperature` must be above 0"),
        (lambda: Logistic(strength=-1.0), "`strength` must be above 0"),
    ],
)
def test_invalid_settings_raise(probe, message):
    with pytest.raises(ValueError, match=message):
        probe()
