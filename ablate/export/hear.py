"""The HEAR API of an exported encoder: HEAR's evaluation imports this module.

Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022.
https://arxiv.org/abs/2203.03022, https://hearbenchmark.com/hear-api.html
"""

import torch
from torch import Tensor, nn

from ablate.export.encoder import AudioEncoder, load_encoder

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)  # those that HEAR allows, in Hz


class EmbeddingModel(nn.Module):
    """An exported encoder with the attributes that HEAR requires.

    Attributes:
        sample_rate: in Hz; the lowest rate that HEAR allows and the encoder can use. The front end
            resamples from it.
        scene_embedding_size: the size of an embedding of a clip.
        timestamp_embedding_size: the size of an embedding of a time step.
    """

    def __init__(self, encoder: AudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        rates = [rate for rate in SAMPLE_RATES if rate >= encoder.sample_rate]
        self.sample_rate = rates[0] if rates else SAMPLE_RATES[-1]
        self.scene_embedding_size = encoder.dim
        self.timestamp_embedding_size = encoder.dim


def load_model(model_file_path: str = "") -> EmbeddingModel:
    """Loads a folder written by `ablate export`. Raises `ValueError` for any other."""
    return EmbeddingModel(load_encoder(model_file_path))


def get_scene_embeddings(audio: Tensor, model: EmbeddingModel) -> Tensor:
    """Returns embeddings, (sounds, dim), of (sounds, samples) at the model's sample rate."""
    return model.encoder.clip_features(audio, sample_rate=model.sample_rate).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: EmbeddingModel) -> tuple[Tensor, Tensor]:
    """Returns embeddings, (sounds, time, dim), and their centres in ms, (sounds, time).

    Centres are regular and lie within the sound: a last patch whose centre lies past the end is
    left out. A sound shorter than half a patch has one embedding, in its middle.

    Raises:
        ValueError: if the front end removes silence, so that features have no times.
    """
    encoder = model.encoder
    embeddings = encoder.features_over_time(audio, sample_rate=model.sample_rate).to(audio.device)
    steps = torch.arange(embeddings.shape[1], dtype=torch.float64, device=audio.device)
    centres = 1000 * (steps * encoder.step_seconds + encoder.patch_seconds / 2)  # float32 drifts
    length = 1000 * audio.shape[1] / model.sample_rate
    centres = centres[centres < length]
    if len(centres) == 0:
        centres = torch.full((1,), length / 2, dtype=torch.float64, device=audio.device)
    return embeddings[:, : len(centres)], centres.float().expand(len(audio), -1)
