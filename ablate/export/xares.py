"""The X-ARES interface of an exported encoder.

https://github.com/jimbozhang/xares, commit 161f0ef. X-ARES caches embeddings and scores under the
name of the encoder's class, so that two runs with one class name would share their scores. Each
exported folder therefore has a class name of its own.
"""

from pathlib import Path

from torch import Tensor, nn

from ablate.export.encoder import load_encoder


class XaresEncoder(nn.Module):
    """Computes features over time, (batch, time, dim), of waveforms, (batch, samples)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = load_encoder(folder)
        self.sampling_rate = self.encoder.sample_rate
        self.output_dim = self.encoder.dim
        self.hop_size_in_ms = 1000 * self.encoder.step_seconds

    def forward(self, audio: Tensor) -> Tensor:
        """Encodes waveforms of any length at `sampling_rate`; padding is encoded as silence."""
        return self.encoder.features_over_time(audio).to(audio.device)


def create_encoder_class(folder: Path, name: str) -> type[XaresEncoder]:
    """Creates a class for the encoder in `folder`; its constructor takes no arguments.

    Args:
        folder: a folder written by `ablate export`.
        name: the name of the class, which no other encoder may have.
    """
    return type(
        name, (XaresEncoder,), {"__init__": lambda self: XaresEncoder.__init__(self, folder)}
    )
