"""Scores of a run: frozen features of its encoder, and what each probe finds in them.

A score is keyed by the probe's settings and lies in the run's folder: another probe scores the
same encoder again and never trains it again.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ablate.files import write_json
from ablate.model.encoder import Encoder
from ablate.parts import identity, resolve
from ablate.probing.features import Features, encoder_features, mel_features
from ablate.probing.probe import AbstractProbe, examine
from ablate.workshop.planning import Emit
from ablate.workshop.subjects import MelStatistics, RandomInit, Sound, Subject, Trial

ENCODER = "encoder.safetensors"


def score(
    folder: Path,
    subject: Subject,
    probes: Mapping[str, AbstractProbe],
    sound: Sound,
    device: torch.device,
    emit: Emit,
) -> list[str]:
    """Scores a subject on every task by the probes that have not yet; returns their names."""
    files = [
        (name, task, folder / "probes" / task.name / f"{score_key(probe)}.json")
        for name, probe in probes.items()
        for task in sound.tasks
    ]
    missing = [(name, task, file) for name, task, file in files if not file.exists()]
    if not missing:
        return []
    features = subject_features(folder, subject, sound, device)
    for done, (name, task, file) in enumerate(missing):
        emit({"event": "progress", "label": "probe", "done": done, "total": len(missing)})
        probe = probes[name]
        scores = {pooling: examine(probe, matrix, task) for pooling, matrix in features.items()}
        key, settings = score_key(probe), resolve(probe)
        write_json(file, {"task": task.name, "key": key, "settings": settings, "scores": scores})
    return sorted({name for name, _, _ in missing})


def score_key(probe: AbstractProbe) -> str:
    """Hashes a probe's protocol, 10 hex digits."""
    text = json.dumps(identity(probe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def subject_features(
    folder: Path, subject: Subject, sound: Sound, device: torch.device
) -> Features:
    """Computes the pooled features of every clip."""
    if isinstance(subject, MelStatistics):
        return mel_features(sound.store, sound.normaliser)
    if isinstance(subject, RandomInit):
        twin, encoder = subject, subject.build_encoder()
    else:
        twin, encoder = subject.twin, load_encoder(folder, subject)
    return encoder_features(
        encoder.to(device).eval(),
        twin.patchifier,
        twin.grid,
        sound.store,
        crop_frames=twin.crop_frames,
        normaliser=sound.normaliser,
        device=device,
    )


def save_encoder(folder: Path, encoder: Encoder, sound: Sound) -> None:
    """Writes the weights, and the statistics by which its input was normalised."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors["normaliser.mean"] = torch.as_tensor(sound.normaliser.mean)
    tensors["normaliser.std"] = torch.as_tensor(sound.normaliser.std)
    whole = folder / f".{ENCODER}"
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, whole)
    whole.replace(folder / ENCODER)


def load_encoder(folder: Path, trial: Trial) -> Encoder:
    """Reads a trained encoder back."""
    twin = trial.twin
    encoder = twin.encoder.build(twin.grid, twin.patchifier.pixels)
    saved = load_file(folder / ENCODER)
    prefix = "encoder."
    weights = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
    encoder.load_state_dict(weights)
    return encoder
