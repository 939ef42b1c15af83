"""Defines what a study evaluates: a trial, its random initialisation, and log-mel statistics.

The fields of these classes are settings, from which the fingerprint of a run is computed. Their
audio is opened here, once per process.
"""

import bisect
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.audio.front_end import AbstractFrontEnd, Normalisation
from ablate.audio.loader import Loader, Normaliser
from ablate.audio.mel import LogMel
from ablate.audio.source import AbstractSource
from ablate.audio.statistics import load_or_compute_statistics
from ablate.audio.store import ClipStore, open_store
from ablate.core.records.run import RunKind
from ablate.model.batching import Batching, is_cut
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.jepa import JEPA
from ablate.model.masking import AbstractMasker, Grid
from ablate.model.objectives import AbstractObjective
from ablate.model.patchify import AbstractPatchifier
from ablate.model.predictor import AbstractPredictor, Predictor
from ablate.model.regularisers import AbstractRegulariser
from ablate.model.targets import AbstractTarget, Teacher
from ablate.model.transformer import checkpoint_activations
from ablate.parts import AS_BEFORE, get_identity
from ablate.probing.tasks import Indices, Task, find_tasks, select_pretraining_clips
from ablate.training.divergence import OnCollapse
from ablate.training.input_scale import InputScale
from ablate.training.input_views import AbstractView
from ablate.training.optimizer import Budget, Optimizer

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class MelStatistics:
    """The baselines without a model: statistics over time of each mel band."""

    data: AbstractSource
    mel: AbstractFrontEnd


@dataclass(frozen=True, kw_only=True)
class RandomInit:
    """An encoder before training, shared by trials that differ only in how it is trained."""

    data: AbstractSource
    mel: AbstractFrontEnd
    crop_frames: int  # length of the model's window
    patchifier: AbstractPatchifier
    encoder: AbstractEncoder
    seed: int

    @property
    def grid(self) -> Grid:
        """The grid of a window's patches. Raises `ValueError` if the patchifier does not fit it."""
        return self.patchifier.grid(self.mel.bands, self.crop_frames)

    def build_encoder(self) -> Encoder:
        """Builds the encoder on the CPU; each weight is drawn from the seed and its own name."""
        encoder = self.encoder.build(self.grid, self.patchifier.pixels)
        self.encoder.initialise(encoder, self.seed)
        return encoder


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration and one seed: what a study trains."""

    data: AbstractSource
    mel: AbstractFrontEnd
    view: AbstractView | None = field(default=None, metadata={AS_BEFORE: None})
    crop_frames: int  # length of the model's window
    patchifier: AbstractPatchifier
    masker: AbstractMasker
    encoder: AbstractEncoder
    predictor: AbstractPredictor
    target: AbstractTarget = field(
        default_factory=Teacher, metadata={AS_BEFORE: get_identity(Teacher())}
    )
    objective: AbstractObjective
    regulariser: AbstractRegulariser | None = field(default=None, metadata={AS_BEFORE: None})
    budget: Budget
    optimizer: Optimizer = field(default_factory=Optimizer)
    batching: Batching = "pack"
    on_collapse: OnCollapse = field(default="warn", metadata={AS_BEFORE: "warn"})
    seed: int

    def __post_init__(self) -> None:
        if self.crop_frames < 1:
            raise ValueError(f"`crop_frames` must be at least 1; got {self.crop_frames}")
        if self.coupling and self.budget.accumulate > 1:
            raise ValueError(
                f"`accumulate` {self.budget.accumulate} splits a batch into parts, but "
                f"{self.coupling} needs the whole batch; leave it at 1"
            )

    def describe_input(self, normaliser: Normaliser) -> InputScale:
        """Describes the values of a batch that was normalised, for the view."""
        in_decibels = isinstance(self.mel, LogMel) and self.mel.top_db is not None
        return InputScale(
            mean=torch.as_tensor(normaliser.mean, dtype=torch.double),
            std=torch.as_tensor(normaliser.std, dtype=torch.double),
            unit=10 / math.log(10) if in_decibels else 1.0,
            hop_seconds=self.mel.hop_seconds,
        )

    @property
    def coupling(self) -> str:
        """Class name of the part whose loss needs the whole batch; empty if there is none."""
        coupled = [part for part in (self.objective, self.regulariser) if part and part.coupled]
        return type(coupled[0]).__name__ if coupled else ""

    @property
    def cuts_kinds_of_masks(self) -> bool:
        """Whether the batching cuts each of a clip's several masks by itself."""
        return is_cut(self.batching) and self.masker.promises.copies > 1

    @property
    def grid(self) -> Grid:
        """The grid of a window's patches. Raises `ValueError` if the patchifier does not fit it."""
        return self.random_init.grid

    @property
    def random_init(self) -> RandomInit:
        """The encoder of this trial before training."""
        return RandomInit(
            data=self.data,
            mel=self.mel,
            crop_frames=self.crop_frames,
            patchifier=self.patchifier,
            encoder=self.encoder,
            seed=self.seed,
        )

    @property
    def statistics(self) -> MelStatistics:
        """The baseline without a model on the audio of this trial, always from a mel front end."""
        return MelStatistics(data=self.data, mel=get_statistics_mel(self.mel))

    def build_jepa(self) -> JEPA:
        """Builds the untrained model on the CPU."""
        encoder, grid = self.random_init.build_encoder(), self.grid
        target = self.target.build(encoder, grid, self.patchifier.pixels)
        predictor = self.predictor.build(grid, encoder.dim, target.dim)
        jepa = JEPA(encoder, predictor, target, self.seed)
        if self.budget.checkpoint_activations:
            checkpoint_activations(jepa)
        return jepa


Evaluable = Trial | RandomInit | MelStatistics
KINDS: dict[RunKind, type[Evaluable]] = {
    "jepa": Trial,
    "random_init": RandomInit,
    "mel_statistics": MelStatistics,
}


def get_statistics_mel(mel: AbstractFrontEnd) -> AbstractFrontEnd:
    """Returns the front end of the baselines without a model: that of the trials if it has bands.

    Trials on waveforms are compared with statistics of the default log-mels.
    """
    return mel if mel.bands > 1 else LogMel()


def get_kind(evaluable: Evaluable) -> RunKind:
    """Returns the kind of run that `config.json` names."""
    return next(kind for kind, cls in KINDS.items() if isinstance(evaluable, cls))


def compute_fingerprint(evaluable: Evaluable, data_digest: str) -> str:
    """Computes the name of the run folder, 10 hex digits, from everything that decides a result."""
    return hash_settings(get_identity_settings(evaluable, data_digest))


def get_identity_settings(evaluable: Evaluable, data_digest: str) -> dict[str, Any]:
    """Returns the settings that decide a result as plain data; audio is included by its digest."""
    settings = {**get_identity(evaluable), "type": get_kind(evaluable), "data": data_digest}
    if isinstance(evaluable, MelStatistics):
        settings["version"] = 2  # version 1 had mean and standard deviation only
    if isinstance(evaluable, Trial) and evaluable.cuts_kinds_of_masks:
        settings["cut"] = "each mask of a clip by itself"  # version 0.1 cut all to one count
    return settings


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Hashes settings to 10 hex digits, independent of the order of their keys."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def count_parameters(encoder: Encoder, predictor: Predictor) -> dict[str, int]:
    """Counts the weights of an encoder and a predictor."""
    modules = {"encoder": encoder, "predictor": predictor}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}


@dataclass(frozen=True)
class AudioData:
    """The clips of a source as log-mels, with their tasks and normalisation."""

    store: ClipStore
    hop_seconds: float  # from one frame to the next
    normalisation: Normalisation = "bands"
    pretrained_on: "AudioData | None" = None  # its statistics are used if clips are only probed

    @cached_property
    def train(self) -> Indices:
        """Indices of the pre-training clips in the store."""
        return select_pretraining_clips(self.store.clips)

    @cached_property
    def normaliser(self) -> Normaliser:
        """Mean and standard deviation of the pre-training clips, as the front end wants them."""
        if self.pretrained_on is not None:
            return self.pretrained_on.normaliser
        return load_or_compute_statistics(self.store, self.train, self.normalisation)

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks of the clips, sorted by name."""
        return find_tasks(self.store.clips)

    def find_too_short(
        self, patchifier: AbstractPatchifier, crop_frames: int, bands: int
    ) -> Indices:
        """Returns the pre-training clips with fewer than two patches: context and target."""
        # bisection, since longer clips have no fewer patches: all lengths at once would take
        # gigabytes for waveforms
        frames = torch.arange(crop_frames).unsqueeze(0)
        min_frames = bisect.bisect_left(
            range(crop_frames + 1), 2, key=lambda n: int(patchifier.valid(frames < n, bands).sum())
        )
        lengths = np.minimum(self.store.lengths[self.train], crop_frames)
        too_short: Indices = self.train[lengths < min_frames]
        return too_short

    def build_loader(self, trial: Trial) -> Loader:
        """Builds the loader of a trial. Raises `ValueError` if all clips are too short.

        The order of clips is drawn before the short ones are skipped, so that trials whose
        patchifiers skip different clips see the others in the same order.
        """
        too_short = self.find_too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
        if len(too_short) == len(self.train):
            raise ValueError("no pre-training clip is two patches long; use narrower patches")
        return Loader(
            self.store,
            self.train,
            trial.crop_frames,
            self.normaliser,
            trial.seed,
            skip=too_short,
        )


_open: dict[tuple[AbstractSource, AbstractFrontEnd, Path], AudioData] = {}


def open_audio(
    data: AbstractSource,
    mel: AbstractFrontEnd,
    cache: Path,
    progress: Progress | None = None,
    *,
    check_files: bool = True,
    probed: bool = True,
) -> AudioData:
    """Opens the clips of a source, and decodes those that are not in the cache.

    A source is opened once per process and front end.

    Args:
        data: the source of the clips.
        mel: the front end.
        cache: the folder of decoded clips.
        progress: called with the number of decoded clips and of all clips.
        check_files: whether to check the audio files for changes. Runs of a validated plan do not:
            their clips are decoded already, so the files are no longer needed.
        probed: whether the clips need labels; those that are only pre-trained on do not.

    Raises:
        ValueError: the source or a label cannot be used; see `open_store`.
    """
    key = (data, mel, cache)
    if key not in _open:
        store = open_store(
            data, mel, cache, check_files=check_files, probed=probed, progress=progress
        )
        _open[key] = AudioData(store, mel.hop_seconds, mel.normalisation)
    if probed and _open[key].store.label_problems:
        raise ValueError(_open[key].store.label_problems)
    return _open[key]
