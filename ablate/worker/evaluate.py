"""Scores the frozen encoder of a run by probes, and saves and loads encoders.

Score files are keyed by the settings of the probe, so another probe scores the same encoder without
training it again. Pooled features are cached by the content of encoder and audio, so another probe
encodes nothing again.
"""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ablate.audio.sources import AbstractSource
from ablate.core.checked_tensors import load_tensors, save_tensors
from ablate.core.io import DamagedFileError
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.score import PoolingScore, ScoreFile, TaskList
from ablate.model.encoder import Encoder
from ablate.model.precision import Precision
from ablate.parts import get_identity, replace_settings
from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import (
    FeatureExtractor,
    RawClips,
    RowsByView,
    compute_mel_features,
    extract_features,
    find_regular_step,
)
from ablate.probing.probe import AbstractProbe, Features
from ablate.probing.scoring import KeepPredictions, Score, score_probe
from ablate.probing.tasks import Task
from ablate.probing.views import TOKENS, View
from ablate.probing.xares_protocol import PaddedClips, apply_protocol
from ablate.runs.predictions import (
    ClipPredictions,
    PredictionLog,
    get_predictions_file,
    write_predictions,
)
from ablate.runs.store import SCORES, TASKS_FILE
from ablate.worker.context import RunContext
from ablate.worker.trial import (
    AudioData,
    Evaluable,
    MelStatistics,
    RandomInit,
    Trial,
    open_audio,
)

ENCODER = "encoder.safetensors"


def score_run(
    folder: Path,
    evaluable: Evaluable,
    probes: Mapping[str, AbstractProbe],
    audio: AudioData,
    context: RunContext,
) -> list[str]:
    """Scores a run on every task by the probes without a score; returns their names.

    The list of tasks is written first, so that an interrupted scoring is recognised as incomplete.
    Raises `ValueError` if the data set of a probe has changed since it was planned.
    """
    scored: set[str] = set()
    for source in dict.fromkeys(probe.tasks for probe in probes.values()):
        same_data = {name: probe for name, probe in probes.items() if probe.tasks == source}
        if source is None:
            data = audio
            _write_tasks(folder / TASKS_FILE, audio)
        else:
            data = open_probe_data(source, evaluable, audio, same_data, context.cache)
        scored |= _score_on(data, folder, evaluable, same_data, context)
    return sorted(scored)


def _write_tasks(file: Path, audio: AudioData) -> None:
    tasks = TaskList(tasks=[task.name for task in audio.tasks])
    with suppress(DamagedFileError):  # written again
        if TaskList.find(file) == tasks:
            return
    tasks.write(file)


def open_probe_data(
    source: AbstractSource,
    evaluable: Evaluable,
    audio: AudioData,
    probes: Mapping[str, AbstractProbe],
    cache: Path,
) -> AudioData:
    """Opens a data set that is only probed, normalised like the pre-training clips.

    Raises `ValueError` if it has changed since it was planned.
    """
    data = open_audio(source, evaluable.mel, cache, check_files=False)
    for name, probe in probes.items():
        if probe.content is not None and probe.content.digest != data.store.digest:
            raise ValueError(
                f"the clips on which probe `{name}` scores have changed since it was planned; "
                "plan the study again"
            )
    return dataclasses.replace(data, pretrained_on=audio)


def _score_on(
    audio: AudioData,
    folder: Path,
    evaluable: Evaluable,
    probes: Mapping[str, AbstractProbe],
    context: RunContext,
) -> set[str]:
    """Scores a run by probes that use the same clips."""
    files = {
        (name, task.name): folder / SCORES / task.name / f"{compute_score_key(probe)}.json"
        for name, probe in probes.items()
        for task in audio.tasks
    }
    missing = [key for key, file in files.items() if not _has_score(file)]
    runner, done = ProbeRunner(folder, evaluable, audio, context.device), 0
    for task in audio.tasks:
        pending = {name: probes[name] for name in probes if (name, task.name) in missing}
        if not pending:
            continue
        for is_official in sorted({probe.is_official for probe in pending.values()}):
            group = {name: p for name, p in pending.items() if p.is_official == is_official}
            context.emit(ProgressMessage(label="probe", done=done, total=len(missing)))
            for name, scores, predictions in runner.score_group(task, group, context.cache):
                probe = probes[name]
                write_predictions(get_predictions_file(files[name, task.name]), predictions)
                ScoreFile(
                    task=task.name,
                    key=compute_score_key(probe),
                    settings=get_identity(probe),
                    scores={pooling: PoolingScore(**score) for pooling, score in scores.items()},
                    precision=runner.precision,
                ).write(files[name, task.name])
                done += 1
                context.emit(ProgressMessage(label="probe", done=done, total=len(missing)))
    return {name for name, _ in missing}


def _has_score(file: Path) -> bool:
    """Returns whether a score file exists and is intact; a damaged one is written again."""
    try:
        return ScoreFile.find(file) is not None
    except DamagedFileError:
        return False


def compute_score_key(probe: AbstractProbe) -> str:
    """Hashes the settings of a probe to 10 hex digits, without the location of its data set."""
    without_location = probe if probe.content is None else replace_settings(probe, tasks=None)
    return _hash(get_identity(without_location))[:10]


@dataclass(frozen=True)
class ProbeRunner:
    """Runs probes on one encoder, or on log-mel statistics: extracts features and scores them."""

    folder: Path
    evaluable: Evaluable
    audio: AudioData
    device: torch.device

    @cached_property
    def reader(self) -> FeatureExtractor | None:
        """The frozen encoder; None for log-mel statistics."""
        if isinstance(self.evaluable, MelStatistics):
            return None
        if isinstance(self.evaluable, RandomInit):
            encoder = self.evaluable.build_encoder()
        else:
            encoder = load_encoder(self.folder, self.evaluable)
        return FeatureExtractor(
            encoder=encoder.to(self.device).eval(),
            patchifier=self.evaluable.patchifier,
            grid=self.evaluable.grid,
            crop_frames=self.evaluable.crop_frames,
            normaliser=self.audio.normaliser,
            device=self.device,
            precision=self.precision,
        )

    @property
    def precision(self) -> Precision:
        """What features are computed in: the precision of the training; `tf32` without training.

        On a CPU it is always `fp32`.
        """
        if self.device.type == "cpu":
            return "fp32"
        return self.evaluable.optimizer.precision if isinstance(self.evaluable, Trial) else "tf32"

    @cached_property
    def key(self) -> str:
        """Hash of what affects the features, 20 hex digits: audio, front end, weights, parts."""
        normaliser, reader = self.audio.normaliser, self.reader
        settings: list[object] = [self.audio.store.digest, get_identity(self.evaluable.mel)]
        if self.precision != "fp32":
            settings.append(self.precision)
        arrays = [normaliser.mean.tobytes(), normaliser.std.tobytes()]
        if reader is not None and not isinstance(self.evaluable, MelStatistics):
            parts = (self.evaluable.encoder, self.evaluable.patchifier)
            settings += [*map(get_identity, parts), self.evaluable.crop_frames]
            state = reader.encoder.state_dict()
            arrays += [state[name].cpu().numpy().tobytes() for name in sorted(state)]
        return _hash(settings, arrays)[:20]

    def score_group(
        self, task: Task, probes: Mapping[str, AbstractProbe], cache: Path
    ) -> Iterator[tuple[str, dict[str, Score], list[ClipPredictions]]]:
        """Scores probes that all follow the official protocol of X-ARES, or all do not.

        Yields the name of each probe, its score by view and its predictions.
        """
        pieces: PaddedClips | None = None
        if any(probe.is_official for probe in probes.values()):
            task, pieces = apply_protocol(task, self.audio.store, self.evaluable.mel)
        features_folder = cache / "features"  # /tmp of a cluster is often too small
        features_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="temporary-", dir=features_folder) as temporary:
            reading = [probe for probe in probes.values() if not probe.needs_audio]
            features = self.compute_features(task, reading, cache, Path(temporary), pieces)
            for name, probe in probes.items():
                logs: dict[str, PredictionLog] = {}
                scores = self.compute_scores(probe, task, features, logs)
                predictions = [
                    predicted
                    for view, log in logs.items()
                    for predicted in log.build(view, task.labels, task.classes)
                ]
                yield name, scores, predictions

    def compute_scores(
        self,
        probe: AbstractProbe,
        task: Task,
        features: Mapping[View, Features],
        logs: dict[str, PredictionLog],
    ) -> dict[str, Score]:
        """Scores a probe on each of its views, and fills `logs` with its predictions by view.

        A probe that trains the encoder has no score without an encoder.
        """
        views = self.list_views(probe, task)

        def keep(view: View) -> KeepPredictions:
            return logs.setdefault(view.name, PredictionLog()).add

        if not probe.needs_audio:
            return {v.name: score_probe(probe, features[v], task, keep(v)) for v in views}
        if self.reader is None or isinstance(self.evaluable, MelStatistics):
            return {}
        source, seed = (self.reader, self.audio.store, task.clips), self.evaluable.seed
        raw_clips = [RawClips(*source, view, seed) for view in views]
        return {
            raw.view.name: score_probe(probe, Features.from_raw(raw), task, keep(raw.view))
            for raw in raw_clips
        }

    def list_views(self, probe: AbstractProbe, task: Task) -> list[View]:
        """Lists the views that a probe scores; log-mel statistics have one, or their frames."""
        views: Sequence[View] = [View(TOKENS if probe.reads_tokens else "mean_std")]
        if self.reader is not None:
            views = probe.views.expand(self.reader.count_layers())
        return [view for view in views if probe.can_score(task.kind, view.pooling)]

    def compute_features(
        self,
        task: Task,
        probes: Iterable[AbstractProbe],
        cache: Path,
        temporary: Path,
        pieces: PaddedClips | None = None,
    ) -> dict[View, Features]:
        """Returns the features of a task's clips for every view that the probes use.

        Views with one vector per clip are cached; those with many rows per clip are written to the
        folder `temporary`. `pieces` replace the clips where probes follow the official protocol of
        X-ARES; their moments are equally far apart.
        """
        views = dict.fromkeys(view for probe in probes for view in self.list_views(probe, task))
        by_moment, reader = task.kind == "events", self.reader
        if reader is not None and pieces is not None:
            step = find_regular_step(reader.patchifier, reader.grid, reader.crop_frames)
            reader = dataclasses.replace(reader, window_step=step)
        folder = task.name if pieces is None else f"{task.name}-{pieces.digest}"
        cached = [view for view in views if view.pooling != TOKENS and not by_moment]

        def produce(views: Sequence[View]) -> Iterator[RowsByView]:
            store, clips = pieces or self.audio.store, task.clips.tolist()
            if reader is None:
                return compute_mel_features(
                    store, self.audio.normaliser, clips, views, by_moment=by_moment
                )
            return extract_features(reader, store, clips, views, by_moment=by_moment)

        features: dict[View, Features] = {}
        seconds = self.audio.hop_seconds
        if reader is not None:
            seconds *= (reader.window_step or reader.crop_frames) / reader.grid.time
        for place, group in (
            (cache / "features" / self.key / folder, cached),
            (temporary, [view for view in views if view not in cached]),
        ):
            features |= load_or_compute(
                place, group, produce, num_clips=len(task.clips), seconds=seconds
            )
        if reader is not None and any(view.layer == "concat" for view in features):
            layers = reader.count_layers(), reader.encoder.dim
            for view in features:
                if view.layer == "concat":
                    features[view] = dataclasses.replace(features[view], layers=layers)
        return features


def _hash(settings: object, arrays: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def save_encoder(folder: Path, encoder: Encoder, audio: AudioData) -> None:
    """Writes the weights of an encoder, and the statistics that normalise its input."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors["normaliser.mean"] = torch.as_tensor(audio.normaliser.mean)
    tensors["normaliser.std"] = torch.as_tensor(audio.normaliser.std)
    save_tensors(folder / ENCODER, tensors)  # on disk before the checkpoints are deleted


def load_encoder(folder: Path, trial: Trial) -> Encoder:
    """Loads a trained encoder on the CPU. Raises `FileNotFoundError` and `DamagedFileError`."""
    encoder = trial.encoder.build(trial.grid, trial.patchifier.pixels)
    saved = load_tensors(folder / ENCODER)
    prefix = "encoder."
    weights = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
    encoder.load_state_dict(weights)
    return encoder
