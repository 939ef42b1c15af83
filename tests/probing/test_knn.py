"""kNN and retrieval probes against their formulas, and how the kNN probes differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from ablate.probing.knn import KNN, Retrieval, XaresKNN
from ablate.probing.probe import Features
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import find_tasks
from tests.probing.conftest import clip, make_clusters, make_data, predict_classes


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 40), dim=st.integers(2, 30))
def test_cosine_knn_agrees_with_scikit_learn(seed, k, dim):
    generator = np.random.default_rng(seed)
    train = generator.normal(size=(40, dim)).astype(np.float32)
    query = generator.normal(size=(15, dim)).astype(np.float32)
    labels = np.append(np.arange(5), generator.integers(0, 5, size=35))
    reference = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / 0.07)
    ).fit(train.astype(np.float64), labels)
    expected = reference.predict_proba(query.astype(np.float64))
    scores = KNN(k=k).predict(make_data(train, labels, query))
    assert np.allclose(scores, expected, atol=1e-3)  # float32 cosines over a temperature of 0.07


def compute_xares_knn(train, labels, query, k, temperature):
    """Computes the published formula with plain loops, in double precision."""
    scores = np.zeros((len(query), labels.max() + 1))
    lengths = [sum(float(clip[d]) ** 2 for clip in train) ** 0.5 for d in range(train.shape[1])]
    for row, vector in enumerate(query):
        own = sum(float(value) ** 2 for value in vector) ** 0.5
        similar = [
            sum(float(vector[d]) / own * float(clip[d]) / lengths[d] for d in range(len(vector)))
            for clip in train
        ]
        nearest = sorted(range(len(train)), key=lambda index: -similar[index])[:k]
        weights = [
            np.exp((similar[index] - similar[nearest[0]]) / temperature) for index in nearest
        ]
        for index, weight in zip(nearest, weights, strict=True):
            scores[row, labels[index]] += weight / sum(weights)
    return scores


@pytest.mark.parametrize("k", [1, 10])
def test_xares_knn_agrees_with_the_published_formula(k):
    train, labels = make_clusters(50, dim=7)
    query, _ = make_clusters(20, dim=7, seed=1)
    train *= np.exp(np.random.default_rng(3).normal(size=(50, 1))).astype(np.float32)
    scores = XaresKNN(k=k).predict(make_data(train, labels, query))
    assert np.abs(scores - compute_xares_knn(train, labels, query, k, 0.07)).max() < 1e-6


def accuracies(sd: float, *, seed: int, offset: float = 0.0):
    """Returns the accuracies of both kNN probes on 50 classes of clips with log-normal norms.

    `sd` is the standard deviation of the logarithm of the norms.
    """
    generator, classes = np.random.default_rng(seed), np.arange(2000) % 50
    clips = generator.normal(size=(50, 768))[classes] + 5.9 * generator.normal(size=(2000, 768))
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    clips += offset / 768**0.5
    clips *= np.exp(sd * generator.normal(size=(2000, 1)))
    train, query = clips[:1600].astype(np.float32), clips[1600:].astype(np.float32)
    truth = classes[1600:]
    return [
        100 * float((predict_classes(probe, train, classes[:1600], query) == truth).mean())
        for probe in (KNN(), XaresKNN())
    ]


def test_xares_knn_is_worse_if_norms_differ():
    equal, spread, moved = (
        np.mean([accuracies(sd, seed=seed, offset=offset) for seed in range(3)], axis=0)
        for sd, offset in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.7))
    )
    assert equal == pytest.approx([30, 30], abs=3)  # equal if all clips have the same norm
    assert spread == pytest.approx([30, 19], abs=3)
    assert moved[1] < 5 < 20 < moved[0]  # it only retrieves hubs


def test_each_label_of_a_multilabel_task_is_voted_on_separately():
    train = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)
    labels = np.array([[True, True, False], [True, False, False], [False, False, True]])
    query = np.array([[1, 0]], dtype=np.float32)
    [scores] = KNN(k=2).predict(make_data(train, labels, query))
    assert scores == pytest.approx([1, 0.5, 0], abs=1e-3)


def make_pairs(spread):
    """Returns sixty pairs of a training and a query clip at distance `spread`, a class each."""
    generator = np.random.default_rng(0)
    train = generator.normal(size=(60, 6))
    features = np.concatenate([train, train + spread * generator.normal(size=(60, 6))])
    clips = [clip(i, f"{i % 60}", split="train" if i < 60 else "test") for i in range(120)]
    return features.astype(np.float32), clips


def test_retrieval_scores_the_share_of_pairs_whose_partner_is_nearest():
    features, clips = make_pairs(0.5)
    [task] = find_tasks(clips)
    scaled = (features - features[:60].mean(axis=0)) / features[:60].std(axis=0)
    lengths = np.linalg.norm(scaled, axis=1)
    hits = [
        max(range(60), key=lambda i: scaled[i] @ scaled[60 + query] / lengths[i]) == query
        for query in range(60)
    ]
    score = score_probe(Retrieval(), Features.from_vectors(features), task)
    assert score["metric"] == "recall_at_1"
    assert 20 < score["test"] < 95
    assert score["test"] == pytest.approx(100 * np.mean(hits))
    assert score_probe(Retrieval(), Features.from_vectors(make_pairs(0.0)[0]), task)["test"] == 100


def test_a_multilabel_retrieval_is_a_hit_if_the_clips_share_a_label():
    train = np.array([[1, 0], [0, 1]], dtype=np.float32)
    labels = np.array([[True, True, False], [False, False, True]])
    query = np.array([[1, 0.1], [0.1, 1]], dtype=np.float32)
    probe = Retrieval()
    scores = probe.predict(make_data(train, labels, query))
    truth = np.array([[False, True, False], [True, False, False]])
    assert probe.measure(scores, truth) == {"recall_at_1": 50}
