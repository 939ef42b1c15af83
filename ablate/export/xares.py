"""The interface of X-ARES and XARES-LLM to an exported encoder.

https://github.com/jimbozhang/xares, commit 161f0ef, whose encoders return features, and
https://github.com/xiaomi-research/xares-llm, commit 105be68, whose encoders also get and return an
attention mask. X-ARES caches embeddings and scores under the
name of the encoder's class, so that two runs with one class name would share their scores. Each
exported folder therefore has a class name of its own.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from ablate.export.encoder import load_encoder


class XaresEncoder(nn.Module):
    """Computes features over time, (batch, time, dim), of waveforms, (batch, samples).

    Called with a mask, as by XARES-LLM, it returns features and their mask. Keyword arguments of
    the constructor are ignored.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = load_encoder(folder)
        self.sampling_rate = self.encoder.sample_rate
        self.output_dim = self.encoder.dim
        self.hop_size_in_ms = 1000 * self.encoder.step_seconds

    def forward(
        self, audio: Tensor, audio_attention_mask: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Encodes waveforms of any length at `sampling_rate`.

        Args:
            audio: (batch, samples), or (samples,) of one sound.
            audio_attention_mask: (batch, samples), 1 for sound and 0 for padding after it. Without
                it, padding is encoded as silence.

        Returns:
            Features; with a mask also the mask of the features, int64 (batch, time).
        """
        audio = audio if audio.dim() == 2 else audio.unsqueeze(0)
        if audio_attention_mask is None:
            return self.encoder.features_over_time(audio).to(audio.device)
        lengths = audio_attention_mask.reshape(audio.shape).sum(dim=1)
        with torch.no_grad():
            features, is_sound = self.encoder.encode(audio, lengths)
        return features.to(audio.device), is_sound.long().to(audio.device)


def create_encoder_class(folder: Path, name: str) -> type[XaresEncoder]:
    """Creates a class for the encoder in `folder`; its constructor takes no arguments.

    Args:
        folder: a folder written by `ablate export`.
        name: the name of the class, which no other encoder may have.
    """
    return type(
        name, (XaresEncoder,), {"__init__": lambda self, **_: XaresEncoder.__init__(self, folder)}
    )
