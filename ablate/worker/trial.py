"""Defines what a study evaluates: a trial, its random initialisation, and log-mel statistics.

The fields of these classes are settings, from which the fingerprint of a run is computed. Their
audio is opened by `ablate.worker.audio_data`.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.loader import Normaliser
from ablate.audio.mel import LogMel
from ablate.audio.source import AbstractSource
from ablate.core.records.run import RunKind
from ablate.core.seeds import SETTINGS
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
from ablate.training.divergence import OnCollapse
from ablate.training.input_scale import InputScale
from ablate.training.input_views import AbstractView
from ablate.training.optimizer import Budget, Optimizer


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
    probe_seed: int | None = field(default=None, metadata={AS_BEFORE: None})

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
    target_view: AbstractView | None = field(default=None, metadata={AS_BEFORE: None})
    symmetric: bool = field(default=False, metadata={AS_BEFORE: False})
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
    seed: int  # initial weights, and every purpose without a seed in a field below
    order_seed: int | None = field(default=None, metadata={AS_BEFORE: None})
    mask_seed: int | None = field(default=None, metadata={AS_BEFORE: None})
    probe_seed: int | None = field(default=None, metadata={AS_BEFORE: None})

    def __post_init__(self) -> None:
        if self.crop_frames < 1:
            raise ValueError(f"`crop_frames` must be at least 1; got {self.crop_frames}")
        if self.coupling and self.budget.accumulate > 1:
            raise ValueError(
                f"`accumulate` {self.budget.accumulate} splits a batch into parts, but "
                f"{self.coupling} needs the whole batch; leave it at 1"
            )

    def get_seed(self, purpose: str) -> int:
        """Returns the seed of a purpose: `init`, `order`, `masks` or `probe`."""
        own: int | None = getattr(self, SETTINGS[purpose])
        return self.seed if own is None else own

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
    def has_views(self) -> bool:
        """Whether an encoder sees something else than the clips."""
        return self.view is not None or self.target_view is not None

    @property
    def num_roles(self) -> int:
        """How often a step uses each clip: twice if its two views exchange their roles."""
        return 2 if self.symmetric else 1

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
            probe_seed=self.probe_seed,
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
