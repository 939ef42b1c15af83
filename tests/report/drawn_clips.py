"""Gives the runs of a test study predictions of single clips, from which their scores follow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablate.core.records.score import PoolingScore
from ablate.runs.predictions import ClipPredictions, Part, get_predictions_file, write_predictions
from ablate.runs.scores import is_score_by
from ablate.runs.store import SCORES, read_scores
from tests.report.conftest import KNN
from tests.run_folders import edit_score

POOLING = "concat_freq"
CLASSES = ("a", "b", "c", "d")
Hits = Callable[[np.random.Generator], NDArray[np.bool_]]  # draws which clips a run gets right


def write_drawn_clips(
    runs: Path,
    draw_hits: Hits,
    *,
    clips_per_group: int = 1,
    poolings: tuple[str, ...] = (POOLING,),
    shared_speakers: bool = False,
) -> None:
    """Writes predictions by KNN for every run and task, and the scores that follow from them.

    With `shared_speakers`, the groups of all tasks have the same names, and the same clips of a
    run are right in each task.
    """
    for folder in sorted(runs.iterdir()):
        for score in read_scores(folder):
            if not is_score_by(KNN, score.settings):
                continue
            task = "" if shared_speakers else score.task
            draw = np.random.default_rng([int(folder.name, 16) % 2**32, *map(ord, task)])
            kept = [
                _draw(draw_hits(draw), pooling, part, clips_per_group, task)
                for pooling in poolings
                for part in ("valid", "test")
            ]
            parts = {(each.pooling, each.part): 100 * float(each.correct.mean()) for each in kept}
            scores = {
                pooling: PoolingScore(valid=parts[pooling, "valid"], test=parts[pooling, "test"])
                for pooling in poolings
            }
            file = folder / SCORES / score.task / f"{score.key}.json"
            edit_score(file, scores={**score.scores, **scores})
            write_predictions(get_predictions_file(file), kept)


def _draw(
    hits: NDArray[np.bool_], pooling: str, part: Part, group_size: int, task: str
) -> ClipPredictions:
    truth = np.arange(len(hits)) % len(CLASSES)
    groups = np.arange(len(hits)) // group_size
    return ClipPredictions(
        pooling=pooling,
        part=part,
        clips=np.arange(len(hits)),
        truth=truth,
        predicted=np.where(hits, truth, (truth + 1) % len(CLASSES))[None],
        classes=CLASSES,
        groups=groups,
        group_names=tuple(f"{part} {task} speaker{group}" for group in np.unique(groups)),
    )
