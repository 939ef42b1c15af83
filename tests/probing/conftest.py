"""Data and clips on which probes are tested."""

import numpy as np

from ablate.audio.clips import ClipInfo
from ablate.probing.probe import AbstractProbe, ProbeData


def make_clusters(clips: int = 60, dim: int = 5, seed: int = 0):
    """Returns points of three classes, around centres that do not depend on the seed."""
    labels = np.arange(clips) % 3
    centres = np.random.default_rng(99).normal(size=(3, dim)) * 2
    noise = np.random.default_rng(seed).normal(size=(clips, dim))
    return (centres[labels] + noise).astype(np.float32), labels


def make_data(train, labels, query, seed: int = 0) -> ProbeData:
    """Returns the data of some training vectors and of query vectors with blank labels."""
    blank = np.full((len(query), *labels.shape[1:]), False if labels.ndim == 2 else -1)
    return ProbeData(
        features=np.concatenate([train, query]),
        labels=np.concatenate([labels, blank]),
        num_classes=labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1,
        train=np.arange(len(train)),
        valid=np.zeros(0, dtype=np.int64),
        query=np.arange(len(train), len(train) + len(query)),
        seed=seed,
    )


def predict_classes(probe: AbstractProbe, train, labels, query):
    """Trains a probe on some vectors and predicts the classes of others."""
    return probe.predict(make_data(train, labels, query)).argmax(axis=1)


def clip(index: int, label: str, *, task: str = "a", split: str = "", fold: str = "") -> ClipInfo:
    return ClipInfo(f"{index}.wav", label=label, task=task, split=split, fold=fold, extra={})
