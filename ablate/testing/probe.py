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
    inputs = ("features", "labels", "train", "valid", "query")
    before = {name: getattr(data, name).copy() for name in inputs}
    scores = probe.predict(data)
    _check_scores(scores, len(data.query), multilabel=multilabel)
    for name, values in before.items():
        same = np.array_equal(values, getattr(data, name))
        assert same, f"the {name} were changed in place"
    kept = scores.copy()
    again = probe.predict(data)
    assert np.array_equal(scores, kept), "a call changed what an earlier call has returned"
    _check_same(again, scores, "one seed gave two predictions; use `data.seed` only")
    _check_use_of_items(probe, data, truth, scores)
    _check_learning(probe, scores, truth[data.query], multilabel=multilabel)
    _check_relearning(probe, data, scores)
    seeds = probe.num_seeds
    assert isinstance(seeds, int), f"`num_seeds` is {seeds!r}, not an integer"
    assert seeds >= 1, f"`num_seeds` is {seeds}, not 1 or more"


def _check_use_of_items(
    probe: AbstractProbe, data: ProbeData, truth: Labels, scores: Scores
) -> None:
    """Tests that items are used for what they are there for, and each is predicted by itself."""
    if not probe.selects_on_test:
        hidden = data.labels.copy()
        hidden[data.query] = truth[data.query]
        changed = probe.predict(dataclasses.replace(data, labels=hidden))
        _check_same(changed, scores, "predictions depend on the labels of the items to predict")
        _check_others(probe, data, scores)
    order = np.arange(len(data.query))[::-1]
    turned = probe.predict(dataclasses.replace(data, query=data.query[order]))
    _check_same(turned, scores[order], "predictions depend on the order of the items to predict")
    if not (probe.needs_validation or probe.selects_on_test):
        alone = probe.predict(dataclasses.replace(data, valid=data.valid[:0]))
        _check_same(
            alone, scores, "items to select by change predictions, but `needs_validation` is false"
        )


def _check_others(probe: AbstractProbe, data: ProbeData, scores: Scores) -> None:
    """Tests that an item is predicted alike alone, and beside items with other features."""
    one = probe.predict(dataclasses.replace(data, query=data.query[:1]))
    _check_same(one, scores[:1], "the prediction of an item alone differs from that among others")
    features, bounds = data.features.copy(), data.bounds
    for item in data.query[1:]:
        rows = slice(item, item + 1) if bounds is None else slice(bounds[item], bounds[item + 1])
        features[rows] = 10.0 - 3.0 * features[rows]
    others = probe.predict(dataclasses.replace(data, features=features))
    _check_same(
        others[:1], scores[:1], "a prediction depends on the features of other items to predict"
    )


def _check_relearning(probe: AbstractProbe, data: ProbeData, scores: Scores) -> None:
    """Tests that a second call learns other labels."""
    if data.labels.ndim > 1:
        return
    labels = np.where(data.labels < 0, -1, (data.labels + 1) % CLASSES)
    changed = probe.predict(dataclasses.replace(data, labels=labels))
    assert not np.allclose(changed, scores, atol=1e-4), (
        "a second call with other labels predicts those of the first; keep nothing between calls"
    )


def _create_data(items: int, *, multilabel: bool, tokens: bool) -> tuple[ProbeData, Labels]:
    """Returns data whose query labels are blank, and all labels."""
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(items) % CLASSES)
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
    same = scores.shape == expected.shape and np.allclose(scores, expected, atol=1e-4, rtol=1e-4)
    assert same, message
