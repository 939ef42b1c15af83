"""Runs probes on a frozen encoder, or on log-mel statistics: extracts features and scores them."""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ablate.model.precision import Precision
from ablate.parts import get_identity
from ablate.probing.columns import find_regular_step
from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import FeatureExtractor, RawClips, RowsByView, extract_features
from ablate.probing.mel_statistics import compute_mel_features, list_statistics_views
from ablate.probing.probe import AbstractProbe, Features
from ablate.probing.scoring import KeepPredictions, Score, score_probe
from ablate.probing.tasks import Indices, Task, find_clip_groups
from ablate.probing.views import TOKENS, View
from ablate.probing.xares_protocol import PaddedClips, apply_protocol
from ablate.runs.predictions import ClipPredictions, PredictionLog
from ablate.worker.audio_data import AudioData
from ablate.worker.encoder_files import load_encoder
from ablate.worker.trial import Evaluable, MelStatistics, RandomInit, Trial


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
        return hash_settings(settings, arrays)[:20]

    def score_group(
        self, task: Task, probes: Mapping[str, AbstractProbe], cache: Path
    ) -> Iterator[tuple[str, dict[str, Score], list[ClipPredictions]]]:
        """Scores probes that all follow the official protocol of X-ARES, or all do not.

        Yields the name of each probe, its score by view and its predictions.
        """
        pieces: PaddedClips | None = None
        if any(probe.is_official for probe in probes.values()):
            task, pieces = apply_protocol(task, self.audio.store, self.evaluable.mel)
        stored = task.clips if pieces is None else pieces.clips

        def find_groups(rows: Indices) -> tuple[Indices, tuple[str, ...]]:
            return find_clip_groups(self.audio.store.clips, stored[rows])

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
                    for predicted in log.build(view, task.kind, task.classes, find_groups)
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
        source, own = (self.reader, self.audio.store, task.clips), self.evaluable.probe_seed
        seed = self.evaluable.seed if own is None else own
        raw_clips = [RawClips(*source, view, seed) for view in views]
        return {
            raw.view.name: score_probe(probe, Features.from_raw(raw), task, keep(raw.view))
            for raw in raw_clips
        }

    def list_views(self, probe: AbstractProbe, task: Task) -> list[View]:
        """Lists the views that a probe scores, of an encoder or of log-mel statistics."""
        if self.reader is None:
            views = list_statistics_views(probe.views, by_moment=task.kind == "events")
        else:
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
        if reader is None:
            return features
        return {
            view: dataclasses.replace(own, layers=reader.get_layer_shape(view))
            for view, own in features.items()
        }


def hash_settings(settings: object, arrays: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()
