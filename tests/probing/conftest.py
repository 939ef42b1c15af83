"""Lessons and tasks for probes to be tried on."""

import numpy as np

from ablate.audio.clips import ClipInfo
from ablate.probing.probe import AbstractProbe, Lesson


def clouds(clips: int = 60, dim: int = 5, seed: int = 0):
    """Points of three classes around three centres that every seed shares."""
    labels = np.arange(clips) % 3
    centres = np.random.default_rng(99).normal(size=(3, dim)) * 2
    noise = np.random.default_rng(seed).normal(size=(clips, dim))
    return (centres[labels] + noise).astype(np.float32), labels


def lesson_of(known, labels, asked, seed: int = 0) -> Lesson:
    """Some vectors to learn from, and others that are asked, their labels blank."""
    blank = np.full((len(asked), *labels.shape[1:]), False if labels.ndim == 2 else -1)
    return Lesson(
        features=np.concatenate([known, asked]),
        labels=np.concatenate([labels, blank]),
        classes=labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1,
        known=np.arange(len(known)),
        valid=np.zeros(0, dtype=np.int64),
        asked=np.arange(len(known), len(known) + len(asked)),
        seed=seed,
    )


def guessed(probe: AbstractProbe, known, labels, asked):
    """Has a probe learn from some vectors and tell the class of others."""
    return probe.predict(lesson_of(known, labels, asked)).argmax(axis=1)


def clip(index: int, label: str, *, task: str = "a", split: str = "", fold: str = "") -> ClipInfo:
    return ClipInfo(f"{index}.wav", label=label, task=task, split=split, fold=fold, extra={})
