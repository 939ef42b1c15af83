"""Sample audio for pictures of masks: a clip of the synthetic corpus, or a file of the user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.decoding import open_audio_file
from ablate.audio.mel import LogMel
from ablate.audio.waveform_stream import Samples, WaveformStream
from ablate.mask_analysis.pictures import cut_patches
from ablate.model.masking import Grid

CLIPS = 60  # clips for maskers that read content
SECONDS = 10.24  # length of the excerpt of a file
SIZE = (64, 512)  # approximate size of the picture, in bands and frames


@dataclass(frozen=True)
class SampleAudio:
    """One clip to draw, and further clips to measure content-aware maskers on."""

    title: str
    clips: Tensor  # (clips, bands, frames), every band with mean 0 and standard deviation 1

    @classmethod
    def load(cls, audio: str | None) -> Self:
        """Reads an audio file, or generates synthetic clips if `audio` is None.

        Raises:
            ValueError: The file cannot be read.
        """
        front_end = LogMel()
        if audio is None:
            from ablate.audio.synthetic import Synthetic  # imports scipy, which most workers skip

            corpus = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
            train = [i for i, clip in enumerate(corpus.clips()) if clip.split == "train"]
            waveforms = [corpus.read(index) for index in train[:CLIPS]]
            mels = [front_end(torch.from_numpy(samples), rate) for samples, rate in waveforms]
            title = f"{corpus.clips()[train[0]].path} (synthetic)"
            return cls(title, _normalise(torch.stack(mels)))
        try:
            stream = open_audio_file(Path(audio))
            samples, rate = _read_start(stream, SECONDS), stream.sample_rate
        except BadAudioError as error:
            [(path, reason)] = error.clips
            raise ValueError(f"`{path}` {reason}") from error
        mel = front_end(torch.from_numpy(samples), rate)
        shifts = torch.linspace(0, len(mel), CLIPS + 1)[:-1].long().tolist()
        return cls(Path(audio).name, _normalise(torch.stack([mel.roll(-s, 0) for s in shifts])))

    def mel(self, grid: Grid) -> Tensor:
        """Returns the clip to draw, `(bands, frames)`, resized to a multiple of `grid`."""
        return _resize(self.clips[:1], grid)[0]

    def content(self, grid: Grid) -> Tensor:
        """Returns the patches of all clips, `(clips, patches, pixels)`."""
        return torch.cat([cut_patches(mel, grid) for mel in _resize(self.clips, grid)])


def _read_start(stream: WaveformStream, seconds: float) -> Samples:
    """Reads a waveform up to a time; whatever is wrong later does not matter."""
    blocks: list[Samples] = []
    count = round(seconds * stream.sample_rate)
    for block in stream.blocks():
        blocks.append(block)
        if sum(map(len, blocks)) >= count:
            break
    return np.concatenate(blocks)[:count]


def _resize(clips: Tensor, grid: Grid) -> Tensor:
    """Resizes `(clips, bands, frames)` to a multiple of `grid`, so that no audio is cropped."""
    size = (
        grid.freq * max(1, SIZE[0] // grid.freq),
        grid.time * max(1, SIZE[1] // grid.time),
    )
    return F.interpolate(clips.unsqueeze(1), size, mode="bilinear").squeeze(1)


def _normalise(mels: Tensor) -> Tensor:
    """Normalises `(clips, frames, bands)` per band, and returns `(clips, bands, frames)`."""
    mean, deviation = mels.mean(dim=(0, 1)), mels.std(dim=(0, 1)).clamp(min=1e-3)
    return ((mels - mean) / deviation).transpose(1, 2)
