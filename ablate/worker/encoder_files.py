"""Saves and loads the trained encoder of a run, with the statistics that normalise its input."""

from pathlib import Path

import torch

from ablate.core.checked_tensors import load_tensors, save_tensors
from ablate.core.records.run import ENCODER_FILE
from ablate.model.encoder import Encoder
from ablate.worker.audio_data import AudioData
from ablate.worker.trial import Trial


def save_encoder(folder: Path, encoder: Encoder, audio: AudioData) -> None:
    """Writes the weights of an encoder, and the statistics that normalise its input."""
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors["normaliser.mean"] = torch.as_tensor(audio.normaliser.mean)
    tensors["normaliser.std"] = torch.as_tensor(audio.normaliser.std)
    save_tensors(folder / ENCODER_FILE, tensors)  # on disk before the checkpoints are deleted


def load_encoder(folder: Path, trial: Trial) -> Encoder:
    """Loads a trained encoder on the CPU. Raises `FileNotFoundError` and `DamagedFileError`."""
    encoder = trial.encoder.build(trial.grid, trial.patchifier.pixels)
    saved = load_tensors(folder / ENCODER_FILE)
    prefix = "encoder."
    weights = {k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)}
    encoder.load_state_dict(weights)
    return encoder
