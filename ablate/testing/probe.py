"""Tests that a probe keeps the promises of its contract."""

import dataclasses

import numpy as np

from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.tasks import Labels

CLASSES, DIM = 3, 8


def check_probe(probe: AbstractProbe, *, items: int = 90, multilabel: bool = False) -> None:
    """Tests a probe against every promise of `AbstractProbe`, on features that separate classes.

    Args:
        probe: The probe; few training steps keep the test fast.
        items: Number of items, a third each to train on, to select by, and to predict.
        multilabel: Whether an item may have several classes.

    Raises:
        AssertionError: For the first broken promise.
        ValueError: If the probe trains the encoder on audio, which this test cannot provide.

    Example:
        >>> import ablate
        >>> from ablate.probing.knn import KNN
        >>> ablate.check_probe(KNN(k=3))
    """
    if probe.needs_audio:
        raise ValueError(
            f"{type(probe).__name__} reads audio (`needs_audio`); test it with a study of a few "
            "synthetic clips"
        )
    data, truth = _create_data(items, multilabel=multilabel, tokens=probe.reads_tokens)
    before = (data.features.copy(), data.labels.copy())
    scores = probe.predict(data)
    _check_scores(scores, len(data.query), multilabel=multilabel)
    assert np.array_equal(before[0], data.features), "the features were changed in place"
    assert np.array_equal(before[1], data.labels), "the labels were changed in place"
    _check_same(probe.predict(data), scores, "one seed gave two predictions; use `data.seed` only")
    if not probe.selects_on_test:
        hidden = data.labels.copy()
        hidden[data.query] = truth[data.query]
        changed = probe.predict(dataclasses.replace(data, labels=hidden))
        _check_same(changed, scores, "predictions depend on the labels of the items to predict")
    order = np.arange(len(data.query))[::-1]
    turned = probe.predict(dataclasses.replace(data, query=data.query[order]))
    _check_same(turned, scores[order], "predictions depend on the order of the items to predict")
    _check_learning(probe, scores, truth[data.query], multilabel=multilabel)
    seeds = probe.num_seeds
    assert isinstance(seeds, int), f"`num_seeds` is {seeds!r}, not an integer"
    assert seeds >= 1, f"`num_seeds` is {seeds}, not 1 or more"


def _create_data(items: int, *, multilabel: bool, tokens: bool) -> tuple[ProbeData, Labels]:
    """Returns data whose query labels are blank, and all labels."""
    rng = np.random.default_rng(0)
    classes = np.arange(items) % CLASSES
    per_item = 1 + np.arange(items) % 3 if tokens else np.ones(items, dtype=np.int64)
    centres = 2.0 * rng.standard_normal((CLASSES, DIM))
    truth: Labels = rng.random((items, CLASSES)) < 0.5 if multilabel else classes
    means = truth @ centres if multilabel else centres[classes]
    rows = np.repeat(means, per_item, axis=0)
    features = (rows + 0.3 * rng.standard_normal(rows.shape)).astype(np.float32)
    third = items // 3
    train, valid, query = np.split(rng.permutation(items)[: 3 * third], 3)
    labels = truth.copy()
    labels[query] = False if multilabel else -1
    data = ProbeData(
        features=features,
        labels=labels,
        num_classes=CLASSES,
        train=train,
        valid=valid,
        query=query,
        seed=3,
        selection_metric="map" if multilabel else "accuracy",
        bounds=np.concatenate([[0], per_item.cumsum()]) if tokens else None,
    )
    return data, truth


def _check_scores(scores: Scores, queries: int, *, multilabel: bool) -> None:
    assert isinstance(scores, np.ndarray), f"`predict` gives {type(scores).__name__}, no array"
    assert scores.dtype == np.float32, f"scores are {scores.dtype}, not float32"
    shape, expected = scores.shape, (queries, CLASSES)
    assert shape == expected, f"scores are {shape}, not (query items, classes) {expected}"
    assert np.isfinite(scores).all(), "scores are not finite"
    if multilabel:
        within = (scores > -1e-5) & (scores < 1 + 1e-5)
        assert within.all(), "scores of a multi-label task are not probabilities"


def _check_learning(
    probe: AbstractProbe, scores: Scores, truth: Labels, *, multilabel: bool
) -> None:
    """Tests that the classes, which are far apart, are recognised more often than by chance."""
    right = ((scores > 0.5) == truth).mean() if multilabel else (scores.argmax(1) == truth).mean()
    least = 0.7 if multilabel else 0.6
    assert right >= least, (
        f"only {right:.0%} of {len(truth)} items are right where classes are far apart; higher "
        "scores must mean more likely classes"
    )
    metrics = probe.measure(scores, truth)
    assert metrics, "`measure` gives no metric"
    assert all(np.isfinite(value) for value in metrics.values()), (
        f"a metric is not finite: {metrics}"
    )


def _check_same(scores: Scores, expected: Scores, message: str) -> None:
    assert np.allclose(scores, expected, atol=1e-4, rtol=1e-4), message
