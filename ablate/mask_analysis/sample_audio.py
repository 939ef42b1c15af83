"""The sound that masks are shown on: a clip of the embedded corpus, or a file of the user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.audio.mel import LogMel
from ablate.audio.sources import BadAudioError, decode
from ablate.mask_analysis.pictures import patches
from ablate.model.masking import Grid

OTHERS = 60  # clips handed to maskers that look at what they mask
SECONDS = 10.24  # of a file that are shown
PIXELS = (64, 512)  # of the picture, bands and frames: about, in whole pixels a patch


@dataclass(frozen=True)
class Exhibit:
    """One clip to draw, and others like it to measure content-aware maskers on."""

    title: str
    clips: Tensor  # (clips, bands, frames), every band of zero mean and unit deviation

    @classmethod
    def of(cls, audio: str | None) -> Self:
        """Reads a file, or makes clips. Raises `ValueError` for a file that cannot be read."""
        front_end = LogMel()
        if audio is None:
            from ablate.audio.synthetic import Synthetic  # scipy: not at a worker's every start

            corpus = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
            train = [i for i, clip in enumerate(corpus.clips()) if clip.split == "train"]
            read = [corpus.read(index) for index in train[:OTHERS]]
            mels = [front_end(torch.from_numpy(samples), rate) for samples, rate in read]
            return cls(f"{corpus.clips()[train[0]].path} (synthetic)", _normal(torch.stack(mels)))
        try:
            samples, rate = decode(Path(audio), audio)
        except BadAudioError as error:
            [(path, reason)] = error.clips
            raise ValueError(f"`{path}` {reason}") from error
        whole = front_end(torch.from_numpy(samples[: round(SECONDS * rate)]), rate)
        shifts = torch.linspace(0, len(whole), OTHERS + 1)[:-1].long().tolist()
        return cls(Path(audio).name, _normal(torch.stack([whole.roll(-s, 0) for s in shifts])))

    def mel(self, grid: Grid) -> Tensor:
        """Returns the clip to draw, (bands, frames), in whole patches of a grid."""
        return _stretched(self.clips[:1], grid)[0]

    def content(self, grid: Grid) -> Tensor:
        """Returns the patches of all clips, (clips, patches, pixels)."""
        return torch.cat([patches(mel, grid) for mel in _stretched(self.clips, grid)])


def _stretched(clips: Tensor, grid: Grid) -> Tensor:
    """Stretches (clips, bands, frames) to whole patches: every grid shows all of the sound."""
    size = (
        grid.freq * max(1, PIXELS[0] // grid.freq),
        grid.time * max(1, PIXELS[1] // grid.time),
    )
    return F.interpolate(clips.unsqueeze(1), size, mode="bilinear").squeeze(1)


def _normal(mels: Tensor) -> Tensor:
    """Normalises (clips, frames, bands) per band, and puts bands before frames."""
    mean, deviation = mels.mean(dim=(0, 1)), mels.std(dim=(0, 1)).clamp(min=1e-3)
    return ((mels - mean) / deviation).transpose(1, 2)
