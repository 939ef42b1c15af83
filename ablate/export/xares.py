"""An exported encoder as X-ARES takes it. https://github.com/jimbozhang/xares, commit 161f0ef.

X-ARES keeps embeddings and scores by the name of the encoder's class: two runs under one name
would be given each other's scores. So each exported folder names a class of its own.
"""

from pathlib import Path

from torch import Tensor, nn

from ablate.export.frozen import load_encoder


class Adapter(nn.Module):
    """Gives features over time: `forward` takes (batch, samples) and gives (batch, time, dim)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.frozen = load_encoder(folder)
        self.sampling_rate = self.frozen.sample_rate
        self.output_dim = self.frozen.dim
        self.hop_size_in_ms = 1000 * self.frozen.moment_seconds

    def forward(self, audio: Tensor) -> Tensor:
        """Takes sound of any length at `sampling_rate`; padding is encoded like silence."""
        return self.frozen.moments(audio).to(audio.device)


def class_for(folder: Path, name: str) -> type[Adapter]:
    """Makes a class, to be called without arguments, for the encoder in `folder`.

    `name` must be one that no other encoder has.
    """
    return type(name, (Adapter,), {"__init__": lambda self: Adapter.__init__(self, folder)})
