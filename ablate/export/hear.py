"""The HEAR API of an exported encoder: HEAR's evaluation imports this module.

Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022.
https://arxiv.org/abs/2203.03022, https://hearbenchmark.com/hear-api.html
"""

import torch
from torch import Tensor, nn

from ablate.export.frozen import FrozenEncoder, load_encoder


class EmbeddingModel(nn.Module):
    """An exported encoder with the attributes that HEAR requires.

    Attributes:
        sample_rate: in Hz.
        scene_embedding_size: the size of an embedding of a clip.
        timestamp_embedding_size: the size of an embedding of a time step.
    """

    def __init__(self, frozen: FrozenEncoder) -> None:
        super().__init__()
        self.frozen = frozen
        self.sample_rate = frozen.sample_rate
        self.scene_embedding_size = frozen.dim
        self.timestamp_embedding_size = frozen.dim


def load_model(model_file_path: str = "") -> EmbeddingModel:
    """Loads a folder written by `ablate export`. Raises `ValueError` for any other."""
    return EmbeddingModel(load_encoder(model_file_path))


def get_scene_embeddings(audio: Tensor, model: EmbeddingModel) -> Tensor:
    """Returns embeddings, (sounds, dim), of (sounds, samples) at the model's sample rate."""
    return model.frozen.clip_features(audio).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: EmbeddingModel) -> tuple[Tensor, Tensor]:
    """Returns embeddings, (sounds, time, dim), and their centres in ms, (sounds, time)."""
    embeddings = model.frozen.features_over_time(audio).to(audio.device)
    hop_ms = 1000 * model.frozen.step_seconds
    centres = (torch.arange(embeddings.shape[1], device=audio.device) + 0.5) * hop_ms
    return embeddings, centres.expand(len(audio), -1)
