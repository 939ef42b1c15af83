"""The two kNN probes: each against its formula, and where they differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from ablate.probing.knn import KNN, Retrieval, XaresKNN
from ablate.probing.probe import Features, examine
from ablate.probing.tasks import find_tasks
from tests.probing.conftest import clip, clouds, guessed, lesson_of


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 40), dim=st.integers(2, 30))
def test_cosine_neighbours_are_those_of_scikit_learn(seed, k, dim):
    generator = np.random.default_rng(seed)
    known = generator.normal(size=(40, dim)).astype(np.float32)
    asked = generator.normal(size=(15, dim)).astype(np.float32)
    labels = np.append(np.arange(5), generator.integers(0, 5, size=35))
    twin = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / 0.07)
    ).fit(known.astype(np.float64), labels)
    expected = twin.predict_proba(asked.astype(np.float64))
    found = KNN(k=k).predict(lesson_of(known, labels, asked))
    assert np.allclose(found, expected, atol=1e-3)  # float32 cosines over a temperature of 0.07


def slow_xares(known, labels, asked, k, temperature):
    """The formula, one number after the other, in double precision."""
    scores = np.zeros((len(asked), labels.max() + 1))
    lengths = [sum(float(clip[d]) ** 2 for clip in known) ** 0.5 for d in range(known.shape[1])]
    for row, query in enumerate(asked):
        own = sum(float(value) ** 2 for value in query) ** 0.5
        similar = [
            sum(float(query[d]) / own * float(clip[d]) / lengths[d] for d in range(len(query)))
            for clip in known
        ]
        nearest = sorted(range(len(known)), key=lambda index: -similar[index])[:k]
        weights = [
            np.exp((similar[index] - similar[nearest[0]]) / temperature) for index in nearest
        ]
        for index, weight in zip(nearest, weights, strict=True):
            scores[row, labels[index]] += weight / sum(weights)
    return scores


@pytest.mark.parametrize("k", [1, 10])
def test_the_official_neighbours_are_those_of_the_published_formula(k):
    known, labels = clouds(50, dim=7)
    asked, _ = clouds(20, dim=7, seed=1)
    known *= np.exp(np.random.default_rng(3).normal(size=(50, 1))).astype(np.float32)
    found = XaresKNN(k=k).predict(lesson_of(known, labels, asked))
    assert np.abs(found - slow_xares(known, labels, asked, k, 0.07)).max() < 1e-6


def accuracies(sd: float, *, seed: int, offset: float = 0.0):
    """Of 50 classes, 2000 clips of 768 features whose norms spread by `sd` in the logarithm."""
    generator, classes = np.random.default_rng(seed), np.arange(2000) % 50
    clips = generator.normal(size=(50, 768))[classes] + 5.9 * generator.normal(size=(2000, 768))
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    clips += offset / 768**0.5
    clips *= np.exp(sd * generator.normal(size=(2000, 1)))
    known, asked = clips[:1600].astype(np.float32), clips[1600:].astype(np.float32)
    truth = classes[1600:]
    return [
        100 * float((guessed(probe, known, classes[:1600], asked) == truth).mean())
        for probe in (KNN(), XaresKNN())
    ]


def test_the_official_neighbours_lose_where_norms_differ():
    equal, spread, moved = (
        np.mean([accuracies(sd, seed=seed, offset=offset) for seed in range(3)], axis=0)
        for sd, offset in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.7))
    )
    assert equal == pytest.approx([30, 30], abs=3)  # no harm where all are as long
    assert spread == pytest.approx([30, 19], abs=3)
    assert moved[1] < 5 < 20 < moved[0]  # hubs alone are found


def test_several_labels_are_voted_for_one_by_one():
    known = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)
    labels = np.array([[True, True, False], [True, False, False], [False, False, True]])
    asked = np.array([[1, 0]], dtype=np.float32)
    [scores] = KNN(k=2).predict(lesson_of(known, labels, asked))
    assert scores == pytest.approx([1, 0.5, 0], abs=1e-3)


def pairs(spread):
    """Sixty pairs, each a class: one of it known, one asked, as far apart as `spread`."""
    generator = np.random.default_rng(0)
    known = generator.normal(size=(60, 6))
    features = np.concatenate([known, known + spread * generator.normal(size=(60, 6))])
    clips = [clip(i, f"{i % 60}", split="train" if i < 60 else "test") for i in range(120)]
    return features.astype(np.float32), clips


def test_retrieval_is_scored_by_whose_partner_is_nearest():
    features, clips = pairs(0.5)
    [task] = find_tasks(clips)
    scaled = (features - features[:60].mean(axis=0)) / features[:60].std(axis=0)
    lengths = np.linalg.norm(scaled, axis=1)
    found = [
        max(range(60), key=lambda one: scaled[one] @ scaled[60 + query] / lengths[one]) == query
        for query in range(60)
    ]
    score = examine(Retrieval(), Features.of(features), task)
    assert score["metric"] == "recall_at_1"
    assert 20 < score["test"] < 95
    assert score["test"] == pytest.approx(100 * np.mean(found))
    assert examine(Retrieval(), Features.of(pairs(0.0)[0]), task)["test"] == 100


def test_retrieval_of_clips_of_several_labels_is_a_hit_where_they_share_one():
    known = np.array([[1, 0], [0, 1]], dtype=np.float32)
    labels = np.array([[True, True, False], [False, False, True]])
    asked = np.array([[1, 0.1], [0.1, 1]], dtype=np.float32)
    probe = Retrieval()
    scores = probe.predict(lesson_of(known, labels, asked))
    truth = np.array([[False, True, False], [True, False, False]])
    assert probe.measure(scores, truth) == {"recall_at_1": 50}
