"""Builds the online probe of a trial: it scores the encoder on a few clips during training.

The probe is trained on training clips and scored on validation clips, the same at every step and in
every trial. Test clips are not used.
"""

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ablate.core.random import generator
from ablate.core.records.plan import EvaluatePlan
from ablate.model.encoder import Encoder
from ablate.parts import PartError, Problem
from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import FeatureExtractor, RowsByView, extract_features
from ablate.probing.probe import AbstractProbe
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import Indices, Task
from ablate.probing.views import View
from ablate.training.online_probe import OnlineProbe
from ablate.worker.audio_data import AudioData
from ablate.worker.context import RunContext
from ablate.worker.evaluate import open_probe_data
from ablate.worker.trial import Trial


def check_online_probe(evaluate: EvaluatePlan, probes: Mapping[str, AbstractProbe]) -> None:
    """Raises `PartError` for a probe that trains the encoder, or scores test clips only."""
    if not probes[evaluate.probe].scores_validation:
        problem = f"`{evaluate.probe}` scores test clips only; use another probe's score"
        raise PartError([Problem(("evaluate",), problem)])
    if probes[evaluate.probe].needs_audio:
        problem = f"`{evaluate.probe}` trains the encoder itself; use another probe's score"
        raise PartError([Problem(("evaluate",), problem)])


def build_online_probe(
    evaluate: EvaluatePlan,
    probes: Mapping[str, AbstractProbe],
    trial: Trial,
    audio: AudioData,
    context: RunContext,
) -> OnlineProbe:
    """Builds the online probe of a trial from one of the study's probes.

    It uses the data set of that probe, if it has its own. Raises `ValueError` if no task has
    validation clips, if the data set has changed, or if all training clips have one class.
    """
    probe = probes[evaluate.probe]
    if probe.tasks is not None:
        audio = open_probe_data(probe.tasks, trial, audio, {evaluate.probe: probe}, context.cache)
    tasks = [
        small for task in audio.tasks if (small := subsample_task(task, evaluate.clips)) is not None
    ]
    if not tasks:
        raise ValueError("`evaluate` scores on validation clips, but no task has any")
    for task in tasks:
        _check_classes(task, evaluate.clips)
    scorer = _Scorer(probe, evaluate.pooling, tasks, trial, audio, context.device)
    count = sum(len(task.parts["valid"]) for task in tasks)
    return OnlineProbe(every=evaluate.every, num_clips=count, evaluate=scorer.score)


def subsample_task(task: Task, max_clips: int) -> Task | None:
    """Returns a task with at most `max_clips` training and as many validation clips, no test clips.

    None if it lacks one of these parts, for example because its clips are divided into folds.
    """
    if task.folded or not all(len(task.parts.get(part, ())) for part in ("train", "valid")):
        return None
    train, valid = (_draw_clips(task, part, max_clips) for part in ("train", "valid"))
    kept = np.concatenate([train, valid])
    indices = np.arange(len(kept))
    return dataclasses.replace(
        task,
        clips=task.clips[kept],
        labels=task.labels[kept],
        parts={"train": indices[: len(train)], "valid": indices[len(train) :]},
        events=tuple(task.events[clip] for clip in kept) if task.events else (),
    )


def _draw_clips(task: Task, part: str, max_clips: int) -> Indices:
    """Draws clips of a part, the same for every trial.

    If a class would have no training clip, the first drawn clip of each class comes first.
    """
    clips = task.parts[part]
    order = torch.randperm(len(clips), generator=generator(0, "online probe", task.name, part))
    drawn = clips[order.numpy()]
    if task.kind == "single" and part == "train":
        first = np.unique(task.labels[drawn], return_index=True)[1]
        if first.max() >= max_clips:
            drawn = np.concatenate([drawn[np.sort(first)], np.delete(drawn, first)])
    chosen: Indices = np.sort(drawn[:max_clips])
    return chosen


def _check_classes(task: Task, max_clips: int) -> None:
    """Raises `ValueError` if all training clips have the same class."""
    if task.kind == "single" and len(np.unique(task.labels[task.parts["train"]])) < 2:
        raise ValueError(
            f"`evaluate` draws {max_clips} clips, and the training clips of task `{task.name}` "
            "have only one class; raise its `clips`"
        )


@dataclass(frozen=True)
class _Scorer:
    """Scores an encoder on the subsampled tasks."""

    probe: AbstractProbe
    pooling: str
    tasks: Sequence[Task]
    trial: Trial
    audio: AudioData
    device: torch.device

    def score(self, encoder: Encoder) -> dict[str, float]:
        """Returns the score of each task on its validation clips, in percent."""
        trial, scores = self.trial, {}
        with _evaluation_mode(encoder):
            reader = FeatureExtractor(
                encoder=encoder,
                patchifier=trial.patchifier,
                grid=trial.grid,
                crop_frames=trial.crop_frames,
                normaliser=self.audio.normaliser,
                device=self.device,
                precision=self.trial.optimizer.precision,
            )
            view = self._find_view(reader)
            for task in self.tasks:
                scores[task.name] = self._score_task(reader, view, task)
        return scores

    def _find_view(self, reader: FeatureExtractor) -> View:
        views = self.probe.views.expand(reader.count_layers())
        chosen = next((view for view in views if view.name == self.pooling), None)
        if chosen is None:
            names = ", ".join(view.name for view in views)
            raise ValueError(f"`evaluate` names `{self.pooling}`, but its probe scores {names}")
        return chosen

    def _score_task(self, reader: FeatureExtractor, view: View, task: Task) -> float:
        clips, by_moment = task.clips.tolist(), task.kind == "events"

        def produce(views: Sequence[View]) -> Iterator[RowsByView]:
            return extract_features(reader, self.audio.store, clips, views, by_moment=by_moment)

        seconds = self.audio.hop_seconds * reader.crop_frames / reader.grid.time
        with tempfile.TemporaryDirectory(prefix="ablate-online-") as folder:
            features = load_or_compute(
                Path(folder), [view], produce, num_clips=len(clips), seconds=seconds
            )
            own = dataclasses.replace(features[view], layers=reader.get_layer_shape(view))
            score = score_probe(self.probe, own, task)["valid"]
        assert score is not None, "the task has validation clips"
        return score


@contextmanager
def _evaluation_mode(encoder: Encoder) -> Iterator[None]:
    """Puts an encoder into evaluation mode inside the block."""
    was_training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(was_training)
