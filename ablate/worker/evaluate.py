"""Scores of a run: frozen features of its encoder, and what each probe finds in them.

A score is keyed by the probe's settings and lies in the run's folder: another probe scores the
same encoder again and never trains it again. Pooled features lie in the cache, keyed by the
content of the encoder and of the sound: another probe reads them again and encodes nothing.
"""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from ablate.audio.sources import AbstractSource
from ablate.core.io import write_atomically
from ablate.core.records.score import PoolingScore, ScoreFile, TaskList
from ablate.model.encoder import Encoder
from ablate.parts import get_identity, replace_settings
from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import (
    FeatureExtractor,
    RawClips,
    RowsByView,
    compute_mel_features,
    extract_features,
)
from ablate.probing.probe import AbstractProbe, Features
from ablate.probing.scoring import Score, score_probe
from ablate.probing.tasks import Task
from ablate.probing.views import TOKENS, View
from ablate.runs.store import SCORES, TASKS_FILE
from ablate.worker.context import RunContext
from ablate.worker.trial import (
    MelStatistics,
    RandomInit,
    Sound,
    Subject,
    Trial,
    open_sound,
)

ENCODER = "encoder.safetensors"


def score_run(
    folder: Path,
    subject: Subject,
    probes: Mapping[str, AbstractProbe],
    sound: Sound,
    context: RunContext,
) -> list[str]:
    """Scores a subject on every task, by those probes that have not yet; returns their names.

    The tasks of its own clips are written down first: a scoring that ends early is then known to
    be one. Raises `ValueError` where a probe's clips are others than those that were planned.
    """
    scored: set[str] = set()
    for source in dict.fromkeys(probe.tasks for probe in probes.values()):
        asking = {name: probe for name, probe in probes.items() if probe.tasks == source}
        if source is None:
            heard = sound
            _write_tasks(folder / TASKS_FILE, sound)
        else:
            heard = open_probe_data(source, subject, sound, asking, context.cache)
        scored |= _score_on(heard, folder, subject, asking, context)
    return sorted(scored)


def _write_tasks(file: Path, sound: Sound) -> None:
    tasks = TaskList(tasks=[task.name for task in sound.tasks])
    if TaskList.find(file) != tasks:
        tasks.write(file)


def open_probe_data(
    source: AbstractSource,
    subject: Subject,
    sound: Sound,
    probes: Mapping[str, AbstractProbe],
    cache: Path,
) -> Sound:
    """Opens clips that are only examined on, normalised as those that were pre-trained on.

    Raises `ValueError` where they are others than those that were planned.
    """
    heard = open_sound(source, subject.mel, cache, check_files=False)
    for name, probe in probes.items():
        if probe.content is not None and probe.content.digest != heard.store.digest:
            raise ValueError(
                f"the clips on which probe `{name}` scores have changed since it was planned; "
                "plan the study again"
            )
    return dataclasses.replace(heard, pretrained_on=sound)


def _score_on(
    sound: Sound,
    folder: Path,
    subject: Subject,
    probes: Mapping[str, AbstractProbe],
    context: RunContext,
) -> set[str]:
    """Scores a subject by probes that examine on the same clips."""
    files = {
        (name, task.name): folder / SCORES / task.name / f"{score_key(probe)}.json"
        for name, probe in probes.items()
        for task in sound.tasks
    }
    missing = [key for key, file in files.items() if not file.exists()]
    examined, done = ProbeRunner(folder, subject, sound, context.device), 0
    for task in sound.tasks:
        asked = {name: probes[name] for name in probes if (name, task.name) in missing}
        if not asked:
            continue
        room = context.cache / "features"  # tokens may be many: a cluster's /tmp is often small
        room.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="passing-", dir=room) as passing:
            reading = [probe for probe in asked.values() if not probe.needs_audio]
            features = examined.features(task, reading, context.cache, Path(passing))
            for name, probe in asked.items():
                progress = {"event": "progress", "label": "probe"}
                context.emit({**progress, "done": done, "total": len(missing)})
                scores = examined.scores(probe, task, features)
                ScoreFile(
                    task=task.name,
                    key=score_key(probe),
                    settings=get_identity(probe),
                    scores={pooling: PoolingScore(**score) for pooling, score in scores.items()},
                ).write(files[name, task.name])
                done += 1
    return {name for name, _ in missing}


def score_key(probe: AbstractProbe) -> str:
    """Hashes a probe's protocol, 10 hex digits: what its clips hold, and not where they lie."""
    placeless = probe if probe.content is None else replace_settings(probe, tasks=None)
    return _hash(get_identity(placeless))[:10]


@dataclass(frozen=True)
class ProbeRunner:
    """A subject as probes see it."""

    folder: Path
    subject: Subject
    sound: Sound
    device: torch.device

    @cached_property
    def reader(self) -> FeatureExtractor | None:
        """The frozen encoder; None for log-mel statistics."""
        if isinstance(self.subject, MelStatistics):
            return None
        if isinstance(self.subject, RandomInit):
            twin, encoder = self.subject, self.subject.build_encoder()
        else:
            twin, encoder = self.subject.twin, load_encoder(self.folder, self.subject)
        return FeatureExtractor(
            encoder=encoder.to(self.device).eval(),
            patchifier=twin.patchifier,
            grid=twin.grid,
            crop_frames=twin.crop_frames,
            normaliser=self.sound.normaliser,
            device=self.device,
        )

    @cached_property
    def key(self) -> str:
        """Hashes what decides the features, 20 hex digits: sound, front end, weights, parts."""
        normaliser, reader = self.sound.normaliser, self.reader
        told: list[object] = [self.sound.store.digest, get_identity(self.subject.mel)]
        numbers = [normaliser.mean.tobytes(), normaliser.std.tobytes()]
        if reader is not None and not isinstance(self.subject, MelStatistics):
            parts = (self.subject.encoder, self.subject.patchifier)
            told += [*map(get_identity, parts), self.subject.crop_frames]
            state = reader.encoder.state_dict()
            numbers += [state[name].cpu().numpy().tobytes() for name in sorted(state)]
        return _hash(told, numbers)[:20]

    def scores(
        self, probe: AbstractProbe, task: Task, features: Mapping[View, Features]
    ) -> dict[str, Score]:
        """Examines a probe on each of its views.

        A probe that trains the encoder has no score without an encoder.
        """
        views = self.views(probe, task)
        if not probe.needs_audio:
            return {v.name: score_probe(probe, features[v], task) for v in views}
        if self.reader is None or isinstance(self.subject, MelStatistics):
            return {}
        of, seed = (self.reader, self.sound.store, task.clips), self.subject.seed
        heard = [RawClips(*of, view, seed) for view in views]
        return {h.view.name: score_probe(probe, Features.from_raw(h), task) for h in heard}

    def views(self, probe: AbstractProbe, task: Task) -> list[View]:
        """Lists the views that a probe scores; log-mel statistics have one, or their frames."""
        found: Sequence[View] = [View(TOKENS if probe.reads_tokens else "mean_std")]
        if self.reader is not None:
            found = probe.views.expand(self.reader.count_layers())
        return [view for view in found if probe.can_score(task.kind, view.pooling)]

    def features(
        self, task: Task, probes: Iterable[AbstractProbe], cache: Path, passing: Path
    ) -> dict[View, Features]:
        """Gives the features of a task's clips under every view that the probes ask for.

        One vector a clip is kept in the cache; tokens and moments, which are many, pass.
        """
        views = dict.fromkeys(view for probe in probes for view in self.views(probe, task))
        by_moment = task.kind == "events"
        kept = [view for view in views if view.pooling != TOKENS and not by_moment]

        def produce(asked: Sequence[View]) -> Iterator[RowsByView]:
            store, clips, reader = self.sound.store, task.clips.tolist(), self.reader
            if reader is None:
                return compute_mel_features(
                    store, self.sound.normaliser, clips, asked, by_moment=by_moment
                )
            return extract_features(reader, store, clips, asked, by_moment=by_moment)

        found: dict[View, Features] = {}
        for folder, some in (
            (cache / "features" / self.key / task.name, kept),
            (passing, [view for view in views if view not in kept]),
        ):
            found |= load_or_compute(
                folder, some, produce, num_clips=len(task.clips), seconds=self._seconds()
            )
        return found

    def _seconds(self) -> float:
        """The time from one moment to the next."""
        reader, hop = self.reader, self.sound.hop_seconds
        return hop if reader is None else hop * reader.crop_frames / reader.grid.time


def _hash(told: object, numbers: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for piece in numbers:
        digest.update(piece)
    return digest.hexdigest()


def save_encoder(folder: Path, encoder: Encoder, sound: Sound) -> None:
    """Writes the weights, and the statistics by which its input was normalised."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors["normaliser.mean"] = torch.as_tensor(sound.normaliser.mean)
    tensors["normaliser.std"] = torch.as_tensor(sound.normaliser.std)
    plain = {name: value.cpu().contiguous() for name, value in tensors.items()}
    write_atomically(folder / ENCODER, save(plain))  # on disk before its checkpoints go


def load_encoder(folder: Path, trial: Trial) -> Encoder:
    """Reads a trained encoder back, on the CPU. Raises `FileNotFoundError`."""
    twin = trial.twin
    encoder = twin.encoder.build(twin.grid, twin.patchifier.pixels)
    saved = load_file(folder / ENCODER)
    prefix = "encoder."
    weights = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
    encoder.load_state_dict(weights)
    return encoder
