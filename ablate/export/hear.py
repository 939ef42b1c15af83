"""An exported encoder as HEAR takes it: this module is the one that its evaluation imports.

Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022.
https://arxiv.org/abs/2203.03022, https://hearbenchmark.com/hear-api.html
"""

import torch
from torch import Tensor, nn

from ablate.export.frozen import FrozenEncoder, load_encoder


class HearModel(nn.Module):
    """An encoder with the attributes that HEAR reads: a rate in Hz, and two sizes."""

    def __init__(self, frozen: FrozenEncoder) -> None:
        super().__init__()
        self.frozen = frozen
        self.sample_rate = frozen.sample_rate
        self.scene_embedding_size = frozen.dim
        self.timestamp_embedding_size = frozen.dim


def load_model(model_file_path: str = "") -> HearModel:
    """Loads the folder that `ablate export` wrote. Raises `ValueError` for any other."""
    return HearModel(load_encoder(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Returns (sounds, dim) of (sounds, samples), at the model's rate."""
    return model.frozen.pooled(audio).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Returns (sounds, time, dim), and of each the middle of its time in ms, (sounds, time)."""
    embeddings = model.frozen.moments(audio).to(audio.device)
    hop_ms = 1000 * model.frozen.moment_seconds
    middles = (torch.arange(embeddings.shape[1], device=audio.device) + 0.5) * hop_ms
    return embeddings, middles.expand(len(audio), -1)
