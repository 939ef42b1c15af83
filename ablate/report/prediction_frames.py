"""Turns the kept predictions of a study into data frames: by clip, as confusion, and by class."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ablate.report.results import Results, TrialResult, get_factor_column, get_levels
from ablate.report.run import read_clip_predictions
from ablate.report.stats.class_scores import compute_class_scores, count_confusions
from ablate.runs.predictions import ClipPredictions

SOURCE_COLUMNS = ("seed", "kind", "task", "probe", "pooling", "part")
CLIP_COLUMNS = ("probe_seed", "clip", "group", "truth", "predicted")
LABEL_COLUMNS = ("probe_seed", "clip", "group", "second", "class", "truth", "predicted")
CONFUSION_COLUMNS = ("truth", "predicted", "clips")
CLASS_COLUMNS = ("class", "support", "precision", "recall", "f1")
Columns = dict[str, object]
Build = Callable[[ClipPredictions], Iterator[Columns]]


def build_clip_frame(results: Results) -> pd.DataFrame:
    """Builds one row per trial, kind of run, probe seed and clip, of tasks with one label per clip.

    `clip` is the position of the clip in its task, `group` its group or recording, `truth` and
    `predicted` are classes.
    """

    def build(kept: ClipPredictions) -> Iterator[Columns]:
        classes, groups = pd.Index(kept.classes), pd.Index(kept.group_names)
        for probe_seed, predicted in enumerate(kept.predicted if kept.kind == "single" else ()):
            yield {
                "probe_seed": probe_seed,
                "clip": kept.clips,
                "group": groups.take(kept.groups),
                "truth": classes.take(kept.truth.astype(np.int64)),
                "predicted": classes.take(predicted.astype(np.int64)),
            }

    return _build_frame(results, build, CLIP_COLUMNS)


def build_label_frame(results: Results) -> pd.DataFrame:
    """Builds one row per trial, kind of run, probe seed, clip and class, of all other tasks.

    `truth` is whether the clip has the class; `predicted` is its probability. In a task of events,
    a row is of one second of a clip, and `predicted` is 0 or 1; otherwise `second` is 0.
    """

    def build(kept: ClipPredictions) -> Iterator[Columns]:
        num_classes, groups = len(kept.classes), pd.Index(kept.group_names)
        _, first, numbers = np.unique(kept.clips, return_index=True, return_inverse=True)
        seconds = np.arange(len(kept.clips)) - first[numbers]
        for probe_seed, predicted in enumerate(kept.predicted if kept.kind != "single" else ()):
            yield {
                "probe_seed": probe_seed,
                "clip": np.repeat(kept.clips, num_classes),
                "group": groups.take(np.repeat(kept.groups, num_classes)),
                "second": np.repeat(seconds, num_classes),
                "class": pd.Index(kept.classes).take(np.tile(np.arange(num_classes), len(seconds))),
                "truth": kept.truth.ravel(),
                "predicted": predicted.ravel().astype(np.float64),
            }

    return _build_frame(results, build, LABEL_COLUMNS)


def build_confusion_frame(results: Results) -> pd.DataFrame:
    """Builds one row per trial, kind of run, true class and predicted class.

    `clips` is their number, the mean over probe seeds; pairs that never occur are left out. Tasks
    with several labels per clip have no rows.
    """

    def build(kept: ClipPredictions) -> Iterator[Columns]:
        if kept.kind != "single":
            return
        classes, counts = pd.Index(kept.classes), count_confusions(kept)
        truth, predicted = counts.nonzero()
        yield {
            "truth": classes.take(truth),
            "predicted": classes.take(predicted),
            "clips": counts[truth, predicted],
        }

    return _build_frame(results, build, CONFUSION_COLUMNS)


def build_class_frame(results: Results) -> pd.DataFrame:
    """Builds one row per trial, kind of run and class, with its scores in percent.

    `support` is the number of clips, or of seconds, with the class. Scores are means over probe
    seeds; probabilities from 0.5 count as predicted. A class that is never predicted has precision
    0, one that never occurs recall 0.
    """

    def build(kept: ClipPredictions) -> Iterator[Columns]:
        yield {"class": list(kept.classes), **vars(compute_class_scores(kept))}

    return _build_frame(results, build, CLASS_COLUMNS)


def _build_frame(results: Results, build: Build, columns: tuple[str, ...]) -> pd.DataFrame:
    names = [*map(get_factor_column, results.factors), *SOURCE_COLUMNS, *columns]
    frames = [
        pd.DataFrame({**source, **values})
        for trial in results.trials
        for source, kept in _list_predictions(results, trial)
        for values in build(kept)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def _list_predictions(
    results: Results, trial: TrialResult
) -> Iterator[tuple[Columns, ClipPredictions]]:
    factors = map(get_factor_column, results.factors)
    levels = dict(zip(factors, get_levels(trial, results.factors), strict=True))
    runs = {
        "jepa": trial.run,
        "random_init": trial.random_init,
        "mel_statistics": trial.mel_statistics,
    }
    for kind, run in runs.items():
        for task, probe, kept in read_clip_predictions(run):
            source = {"seed": trial.seed, "kind": kind, "task": task, "probe": probe}
            yield {**levels, **source, "pooling": kept.pooling, "part": kept.part}, kept
