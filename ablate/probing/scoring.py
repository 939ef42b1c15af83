"""The protocol by which every probe is scored on the splits or folds of a task.

Features are standardised with the statistics of the training part before a probe gets them, unless
it wants them unchanged: without it, cosine neighbours follow the dimension of the largest scale.
"""

from typing import Literal, NotRequired, Protocol, TypedDict

import numpy as np
import torch

from ablate.core.random import generator
from ablate.probing.metrics import (
    HEADLINE,
    SELECTION_METRIC,
    Scores,
    convert_to_score,
    find_segments,
    segment_error_rate,
    segment_f1,
)
from ablate.probing.onsets import measure_onsets
from ablate.probing.probe import AbstractProbe, Features, Matrix, ProbeData
from ablate.probing.tasks import Indices, Labels, Split, Task

_ROWS_AT_ONCE = 65536


class Score(TypedDict):
    """The headline metric of a probe in percent, higher is better."""

    valid: float | None
    test: float | None  # for a task with folds, the mean over `folds`
    folds: list[float]
    metric: NotRequired[str]  # name of the headline metric; accuracy if missing
    seeds: NotRequired[list[float]]  # `test` for each seed of a probe that has several
    metrics: NotRequired[dict[str, float]]  # all metrics of the test part


class KeepPredictions(Protocol):
    """Receives what was predicted for clips, given by their positions in the task.

    A row is a clip with the class, or with the probabilities of all classes if it may have several;
    or, for a task of events, a second of a clip with the classes that were found.
    """

    def __call__(
        self,
        part: Literal["valid", "test"],
        seed: int,
        clips: Indices,
        predicted: Labels | Scores,
        truth: Labels,
        /,
    ) -> None: ...


def score_probe(
    probe: AbstractProbe, features: Features, task: Task, keep: KeepPredictions | None = None
) -> Score:
    """Scores a probe on a task, on its splits or across its folds, as the mean over its seeds.

    `keep` receives the predictions, unless the probe does not give one score per class.
    """
    probe = probe.for_task(task.name)
    tested: list[list[dict[str, float]]] = []  # per seed, for a task with folds per fold
    valid: list[float] = []
    headline = probe.metric or probe.headline or HEADLINE[task.kind]
    for seed in range(probe.num_seeds):
        tests = []
        for split in task.splits():
            for part, metrics in _score_split(probe, features, task, split, seed, keep).items():
                if part == "valid" and not task.folded:
                    valid.append(_get_score(metrics, headline, task))
                else:
                    tests.append(metrics)
        tested.append(tests)
    score = Score(valid=_mean(valid), test=None, folds=[], metric=headline)
    if tested[0]:
        by_seed = [[_get_score(metrics, headline, task) for metrics in tests] for tests in tested]
        score["test"] = float(np.mean(by_seed))
        score["metrics"] = {
            name: float(np.mean([metrics[name] for tests in tested for metrics in tests]))
            for name in tested[0][0]
            if all(name in metrics for tests in tested for metrics in tests)
        }
        if task.folded:
            score["folds"] = np.mean(by_seed, axis=0).tolist()
        if probe.num_seeds > 1:
            score["seeds"] = np.mean(by_seed, axis=1).tolist()
    return score


def standardise(features: Matrix, train: Indices) -> Matrix:
    """Scales each dimension of (rows, dim) to mean 0 and deviation 1 over the rows `train`.

    A dimension that is constant there becomes 0.
    """
    mean = features[train].mean(axis=0, dtype=np.float64)
    std = features[train].std(axis=0, dtype=np.float64)
    std[std < 1e-8] = 1.0
    scaled = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _ROWS_AT_ONCE):
        piece = slice(start, start + _ROWS_AT_ONCE)
        scaled[piece] = (features[piece] - mean) / std
    return scaled


def _score_split(
    probe: AbstractProbe,
    features: Features,
    task: Task,
    split: Split,
    seed: int,
    keep: KeepPredictions | None,
) -> dict[str, dict[str, float]]:
    """Trains a probe once, and computes its metrics for every query part."""
    own = probe.score_split(features, task, split, seed)
    if own is not None:
        return own
    train, valid, labelled = divide_clips(probe, task, split, seed)
    query = np.concatenate(list(split.query.values()))
    data = _build_data(probe, features, task, (train, valid, query), labelled, seed)
    scores = probe.predict(data)
    metrics, start = {}, 0
    for part, clips in split.query.items():
        stop = start + len(clips if data.bounds is not None else features.get_rows(clips))
        metrics[part], rows, predicted, truth = _measure(
            probe, features, task, clips, scores[start:stop]
        )
        has_classes = task.kind != "numbers" and scores.shape[1] == len(task.classes)
        if keep is not None and has_classes:
            is_valid = part == "valid" and not task.folded
            keep("valid" if is_valid else "test", seed, rows, predicted, truth)
        start = stop
    return metrics


def divide_clips(
    probe: AbstractProbe, task: Task, split: Split, seed: int
) -> tuple[Indices, Indices, Indices]:
    """Divides the clips of a split as a probe needs it.

    Returns:
        Clips to train on, clips to select by, and the clips whose labels the probe gets.

    Raises:
        ValueError: As `select_labelled` does.
    """
    train, valid = split.train, split.valid
    if probe.selects_on_test and (task.folded or not len(valid)):
        query = np.concatenate(list(split.query.values()))
        train = select_labelled(probe, task, train, seed)
        return train, query, np.concatenate([train, query])
    if not probe.needs_validation:
        train = select_labelled(probe, task, train, seed)
        return train, valid[:0], train
    # the fold to select by is not trained on
    train = select_labelled(probe, task, np.setdiff1d(train, valid, assume_unique=True), seed)
    return train, valid, np.union1d(train, valid)


def _measure(
    probe: AbstractProbe, features: Features, task: Task, clips: Indices, scores: Scores
) -> tuple[dict[str, float], Indices, Labels | Scores, Labels]:
    """Computes metrics of some clips; also returns the rows, predictions and truth to keep."""
    if task.kind == "events":
        moments = features.counts[clips]
        segments = find_segments(scores, moments, task, clips, features.seconds)
        onsets = measure_onsets(scores, moments, task, clips, features.seconds)
        metrics = segment_f1(segments) | segment_error_rate(segments) | onsets
        return metrics, segments.clips, segments.predicted, segments.truth
    truth = task.labels[clips]
    predicted = scores.argmax(axis=1) if task.kind == "single" else scores
    return probe.measure_task(task.name, scores, truth), clips, predicted, truth


def _build_data(
    probe: AbstractProbe,
    features: Features,
    task: Task,
    parts: tuple[Indices, Indices, Indices],
    labelled: Indices,
    seed: int,
) -> ProbeData:
    """Builds the data of a split; only the clips `labelled` keep their labels."""
    rows, labels = features.rows, _get_labels(features, task)
    bounds = owners = None
    if probe.reads_tokens:
        bounds = np.concatenate([[0], np.cumsum(features.counts)])
        train, valid, query, visible = *parts, labelled
    else:
        train, valid, query, visible = map(features.get_rows, (*parts, labelled))
        owners = np.repeat(np.arange(len(features.counts)), features.counts)
    if probe.standardises:
        rows = standardise(rows, features.get_rows(parts[0]))
    blank = np.ones(len(labels), dtype=np.bool_)
    blank[visible] = False
    if task.kind == "numbers":
        labels[blank] = np.nan
    else:
        labels[blank] = -1 if labels.ndim == 1 else False
    return ProbeData(
        rows,
        labels,
        len(task.classes),
        train,
        valid,
        query,
        seed,
        bounds,
        SELECTION_METRIC[task.kind],
        features.raw,
        owners,
        features.layers,
    )


def select_labelled(probe: AbstractProbe, task: Task, train: Indices, seed: int) -> Indices:
    """Selects the training clips that a probe may use: all, some per class, or a share.

    They depend on the task and on the probe's seed, and are the same for every encoder. More shots
    or a larger share include those of fewer. A share takes as much of every class, and at least one
    clip; clips with several labels are drawn regardless of class.

    Raises `ValueError` for `shots` on a task whose clips may have several classes.
    """
    if probe.shots is None and probe.label_share is None:
        return train
    order = torch.randperm(len(train), generator=generator(seed, "labelled", task.name)).numpy()
    shuffled = train[order]
    if task.kind != "single":
        if probe.shots is not None:
            have = "have numbers" if task.kind == "numbers" else "may have several"
            raise ValueError(
                f"`shots` needs one class per clip, but clips of task `{task.name}` {have}; use "
                "`label_share`"
            )
        groups = [shuffled]
    else:
        groups = [shuffled[task.labels[shuffled] == c] for c in np.unique(task.labels[shuffled])]
    share = probe.label_share or 0.0
    counts = [probe.shots or max(1, round(share * len(group))) for group in groups]
    kept = [group[:count] for group, count in zip(groups, counts, strict=True)]
    selected: Indices = np.sort(np.concatenate(kept))
    return selected


def _get_score(metrics: dict[str, float], name: str, task: Task) -> float:
    """Returns the metric that is the score, higher is better."""
    score = convert_to_score(metrics, name)
    if score is None:
        raise ValueError(
            f"task `{task.name}` has no metric `{name}`, but {', '.join(metrics)}; change `metric` "
            "of the probe"
        )
    return score


def _get_labels(features: Features, task: Task) -> Labels:
    """Returns a copy of the labels of each clip, or of each moment for a task of events."""
    if task.kind != "events":
        return task.labels.copy()
    labels = np.zeros((len(features.rows), len(task.classes)), dtype=np.bool_)
    first = np.cumsum(features.counts) - features.counts
    for clip, events in enumerate(task.events):
        for event in events:
            start, stop = (round(edge / features.seconds) for edge in (event.start, event.stop))
            stop = min(max(stop, start + 1), int(features.counts[clip]))
            labels[first[clip] + start : first[clip] + stop, task.classes.index(event.name)] = True
    return labels


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
