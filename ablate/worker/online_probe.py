"""The online probe of a trial: a few clips of each task, asked about while it trains.

It learns from training clips and is asked about validation clips, the same at every step and in
every trial; test clips are not heard.
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
from ablate.worker.context import RunContext
from ablate.worker.evaluate import open_probe_data
from ablate.worker.trial import Sound, Trial


def check_online_probe(evaluate: EvaluatePlan, probes: Mapping[str, AbstractProbe]) -> None:
    """Raises `PartError` for a probe that cannot look at an encoder that goes on training."""
    if probes[evaluate.probe].needs_audio:
        problem = f"`{evaluate.probe}` trains the encoder itself; use another probe's score"
        raise PartError([Problem(("evaluate",), problem)])


def build_online_probe(
    evaluate: EvaluatePlan,
    probes: Mapping[str, AbstractProbe],
    trial: Trial,
    sound: Sound,
    context: RunContext,
) -> OnlineProbe:
    """Returns what looks at a trial's encoder, by one of the probes.

    A probe that examines on other clips than those of the trial does so here, too. Raises
    `ValueError` where no task has validation clips, where those clips were not planned, or where so
    few leave a task one class.
    """
    probe = probes[evaluate.probe]
    if probe.tasks is not None:
        sound = open_probe_data(probe.tasks, trial, sound, {evaluate.probe: probe}, context.cache)
    tasks = [
        few for task in sound.tasks if (few := subsample_task(task, evaluate.clips)) is not None
    ]
    if not tasks:
        raise ValueError("`evaluate` scores on validation clips, but no task has any")
    for task in tasks:
        _check_classes(task, evaluate.clips)
    desk = _Desk(probe, evaluate.pooling, tasks, trial, sound, context.device)
    count = sum(len(task.parts["valid"]) for task in tasks)
    return OnlineProbe(every=evaluate.every, num_clips=count, evaluate=desk.examine)


def subsample_task(task: Task, most: int) -> Task | None:
    """Returns a task of at most so many training clips, as many to validate on, and no test clip.

    None where it has no such parts, as where clips are divided into folds.
    """
    if task.folded or not all(len(task.parts.get(part, ())) for part in ("train", "valid")):
        return None
    known, asked = (_some(task, part, most) for part in ("train", "valid"))
    kept = np.concatenate([known, asked])
    places = np.arange(len(kept))
    return dataclasses.replace(
        task,
        clips=task.clips[kept],
        labels=task.labels[kept],
        parts={"train": places[: len(known)], "valid": places[len(known) :]},
        events=tuple(task.events[clip] for clip in kept) if task.events else (),
    )


def _some(task: Task, part: str, most: int) -> Indices:
    """Draws clips of a part, the same ones whatever the trial.

    Where a class would be left out of those to learn from, the first drawn of each class go first.
    """
    clips = task.parts[part]
    order = torch.randperm(len(clips), generator=generator(0, "online probe", task.name, part))
    drawn = clips[order.numpy()]
    if task.kind == "single" and part == "train":
        first = np.unique(task.labels[drawn], return_index=True)[1]
        if first.max() >= most:
            drawn = np.concatenate([drawn[np.sort(first)], np.delete(drawn, first)])
    chosen: Indices = np.sort(drawn[:most])
    return chosen


def _check_classes(task: Task, most: int) -> None:
    """Raises `ValueError` where so few clips are of one class that nothing can be learnt."""
    if task.kind == "single" and len(np.unique(task.labels[task.parts["train"]])) < 2:
        raise ValueError(
            f"`evaluate` draws {most} clips, and those of task `{task.name}` to learn from are of "
            "one class; raise its `clips`"
        )


@dataclass(frozen=True)
class _Desk:
    """Where an encoder is examined."""

    probe: AbstractProbe
    pooling: str
    tasks: Sequence[Task]
    trial: Trial
    sound: Sound
    device: torch.device

    def examine(self, encoder: Encoder) -> dict[str, float]:
        """Returns the score of each task on its validation clips, in percent."""
        twin, found = self.trial.twin, {}
        with _evaluating(encoder):
            reader = FeatureExtractor(
                encoder=encoder,
                patchifier=twin.patchifier,
                grid=twin.grid,
                crop_frames=twin.crop_frames,
                normaliser=self.sound.normaliser,
                device=self.device,
            )
            view = self._view(reader)
            for task in self.tasks:
                found[task.name] = self._score(reader, view, task)
        return found

    def _view(self, reader: FeatureExtractor) -> View:
        views = self.probe.views.expand(reader.count_layers())
        chosen = next((view for view in views if view.name == self.pooling), None)
        if chosen is None:
            known = ", ".join(view.name for view in views)
            raise ValueError(f"`evaluate` asks for `{self.pooling}`, but its probe scores {known}")
        return chosen

    def _score(self, reader: FeatureExtractor, view: View, task: Task) -> float:
        clips, by_moment = task.clips.tolist(), task.kind == "events"

        def produce(views: Sequence[View]) -> Iterator[RowsByView]:
            return extract_features(reader, self.sound.store, clips, views, by_moment=by_moment)

        seconds = self.sound.hop_seconds * reader.crop_frames / reader.grid.time
        with tempfile.TemporaryDirectory(prefix="ablate-online-") as passing:
            found = load_or_compute(
                Path(passing), [view], produce, num_clips=len(clips), seconds=seconds
            )
            score = score_probe(self.probe, found[view], task)["valid"]
        assert score is not None, "it was asked about validation clips"
        return score


@contextmanager
def _evaluating(encoder: Encoder) -> Iterator[None]:
    """Puts an encoder into the mode in which it is probed, and back."""
    trained = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(trained)
