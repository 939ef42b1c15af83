"""What a study examines, as objects: a trial, its random-init twin, and log-mel statistics.

A subject's fields are its settings, its fingerprint is its identity, and its sound is opened
here, once for all subjects of a process that share it.
"""

import bisect
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ablate.audio.loader import Loader, Normaliser
from ablate.audio.mel import AbstractFrontEnd, LogMel, Normalisation
from ablate.audio.sources import AbstractSource
from ablate.audio.statistics import load_or_compute_statistics
from ablate.audio.store import ClipStore, open_store
from ablate.core.records.run import RunKind
from ablate.model.batching import Batching
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.jepa import JEPA
from ablate.model.masking import AbstractMasker, Grid
from ablate.model.objectives import AbstractObjective
from ablate.model.patchify import AbstractPatchifier
from ablate.model.predictor import AbstractPredictor, Predictor
from ablate.model.regularisers import AbstractRegulariser
from ablate.model.targets import AbstractTarget, Teacher
from ablate.model.transformer import checkpoint_activations, initialise
from ablate.parts import AS_BEFORE, get_identity
from ablate.probing.tasks import Indices, Task, find_tasks, select_pretraining_clips
from ablate.training.divergence import OnCollapse
from ablate.training.optimizer import Budget, Optimizer

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class MelStatistics:
    """The baseline without a model: mean and deviation over time of each log-mel band."""

    data: AbstractSource
    mel: AbstractFrontEnd


@dataclass(frozen=True, kw_only=True)
class RandomInit:
    """An encoder as it is before training; every masker of its seed starts from this one."""

    data: AbstractSource
    mel: AbstractFrontEnd
    crop_frames: int  # of the model's window
    patchifier: AbstractPatchifier
    encoder: AbstractEncoder
    seed: int

    @property
    def grid(self) -> Grid:
        """The patches of a window. Raises `ValueError` where the patchifier does not divide it."""
        return self.patchifier.grid(self.mel.bands, self.crop_frames)

    def build_encoder(self) -> Encoder:
        """Builds the encoder, each weight drawn from the seed and its name, on the CPU."""
        encoder = self.encoder.build(self.grid, self.patchifier.pixels)
        initialise(encoder, self.seed, "encoder")
        return encoder


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One configuration and one seed: what a study trains."""

    data: AbstractSource
    mel: AbstractFrontEnd
    crop_frames: int  # of the model's window
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
                f"`accumulate` {self.budget.accumulate} cuts batches that "
                f"{self.coupling} must see whole; leave it at 1"
            )

    @property
    def coupling(self) -> str:
        """Names the part whose loss of a batch is no mean over parts of it; empty without."""
        coupled = [part for part in (self.objective, self.regulariser) if part and part.coupled]
        return type(coupled[0]).__name__ if coupled else ""

    @property
    def twin(self) -> RandomInit:
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
        """The baseline without a model on this trial's sound; a waveform's is that of a log-mel."""
        return MelStatistics(data=self.data, mel=self.mel if self.mel.bands > 1 else LogMel())

    def build_jepa(self) -> JEPA:
        """Builds the model before its first step, on the CPU."""
        encoder, grid = self.twin.build_encoder(), self.twin.grid
        target = self.target.build(encoder, grid, self.patchifier.pixels)
        predictor = self.predictor.build(grid, encoder.dim, target.dim)
        jepa = JEPA(encoder, predictor, target, self.seed)
        if self.budget.checkpoint_activations:
            checkpoint_activations(jepa)
        return jepa


Subject = Trial | RandomInit | MelStatistics
KINDS: dict[RunKind, type[Subject]] = {
    "jepa": Trial,
    "random_init": RandomInit,
    "mel_statistics": MelStatistics,
}


def kind_of(subject: Subject) -> RunKind:
    """Returns the word for a subject in `config.json`."""
    return next(kind for kind, found in KINDS.items() if isinstance(subject, found))


def fingerprint(subject: Subject, data_digest: str) -> str:
    """Hashes all that decides a result, in 10 hex digits: data by content, parts by settings."""
    return digest(deciding(subject, data_digest))


def deciding(subject: Subject, data_digest: str) -> dict[str, Any]:
    """Returns all that decides a result, as plain data: the settings less those that do not."""
    return {**get_identity(subject), "type": kind_of(subject), "data": data_digest}


def digest(settings: Mapping[str, Any]) -> str:
    """Hashes what decides a result, in 10 hex digits."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def num_parameters(encoder: Encoder, predictor: Predictor) -> dict[str, int]:
    """Counts the weights of both, by their names."""
    modules = {"encoder": encoder, "predictor": predictor}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}


@dataclass(frozen=True)
class Sound:
    """Clips as log-mels, the tasks among them, and how they are normalised."""

    store: ClipStore
    hop_seconds: float  # from one frame to the next
    normalisation: Normalisation = "bands"
    pretrained_on: "Sound | None" = None  # of clips that are only examined on

    @cached_property
    def train(self) -> Indices:
        """The clips to pre-train on: their places in the store."""
        return select_pretraining_clips(self.store.clips)

    @cached_property
    def normaliser(self) -> Normaliser:
        """Mean and deviation of each band, as the front end says: of the clips to pre-train on."""
        if self.pretrained_on is not None:
            return self.pretrained_on.normaliser
        return load_or_compute_statistics(self.store, self.train, self.normalisation)

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks among the clips, in order of their names."""
        return find_tasks(self.store.clips)

    def too_short(self, patchifier: AbstractPatchifier, crop_frames: int, bands: int) -> Indices:
        """The clips to pre-train on with fewer than two patches: one to see, one to predict."""
        # a longer clip fills no fewer patches; asking for every length takes gigabytes of waveforms
        every = torch.arange(crop_frames).unsqueeze(0)
        least = bisect.bisect_left(
            range(crop_frames + 1), 2, key=lambda n: int(patchifier.valid(every < n, bands).sum())
        )
        lengths = np.minimum(self.store.lengths[self.train], crop_frames)
        found: Indices = self.train[lengths < least]
        return found

    def loader(self, trial: Trial) -> Loader:
        """The batches of a trial. Raises `ValueError` where no clip is long enough.

        Too short clips are skipped in an order drawn over all, so that patchifiers for which
        different clips are too short see those that they share in one order.
        """
        short = self.too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
        if len(short) == len(self.train):
            raise ValueError("no pre-training clip is two patches long; use narrower patches")
        return Loader(
            self.store,
            self.train,
            trial.crop_frames,
            self.normaliser,
            trial.seed,
            skip=short,
        )


_open: dict[tuple[AbstractSource, AbstractFrontEnd, Path], Sound] = {}


def open_sound(
    data: AbstractSource,
    mel: AbstractFrontEnd,
    cache: Path,
    progress: Progress | None = None,
    *,
    check_files: bool = True,
    probed: bool = True,
) -> Sound:
    """Opens the clips of a source, decoding what is not in the cache yet.

    What was planned runs without `check_files`: a file that vanished since takes nothing from
    what is decoded. Clips that are only pre-trained on are not `probed`, and need no labels.
    Opened once a process. Raises as `open_store` does.
    """
    key = (data, mel, cache)
    if key not in _open:
        store = open_store(
            data, mel, cache, check_files=check_files, probed=probed, progress=progress
        )
        _open[key] = Sound(store, mel.hop_seconds, mel.normalisation)
    if probed and _open[key].store.label_problems:
        raise ValueError(_open[key].store.label_problems)
    return _open[key]
