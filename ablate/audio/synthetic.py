"""The synthetic corpus: three labelled tasks made on the spot, so that a study runs anywhere.

Speech, music and environment, ten classes each. A clip depends on the seed and on its own
place (task, class, split, index) alone, whatever else is made before or beside it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ablate.audio import synthetic_environment, synthetic_music, synthetic_speech
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.sources import AbstractSource
from ablate.audio.synthetic_sound import Rng, Samples, count, decay, noise, place
from ablate.core.random import derive

_TASKS = {
    "speech": synthetic_speech,
    "music": synthetic_music,
    "environment": synthetic_environment,
}
_LATEST_ONSET = 0.16  # seconds


@dataclass(frozen=True, kw_only=True)
class Synthetic(AbstractSource):
    """Ten words, ten triads and ten surroundings, in noise, at many levels, in many rooms."""

    version: ClassVar[int] = 1

    clips_per_class: int = 60  # to train on
    valid_per_class: int = 20
    test_per_class: int = 40
    seconds: float = 1.28  # of a clip
    sample_rate: int = 16000
    seed: int = 0  # of the corpus; every trial hears the same one

    def __post_init__(self) -> None:
        for name in ("clips_per_class", "valid_per_class", "test_per_class"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}")
        if not 1 <= self.seconds <= 60:
            raise ValueError(f"`seconds` must lie in [1, 60], got {self.seconds}")
        if not 16000 <= self.sample_rate <= 96000:
            raise ValueError(f"`sample_rate` must lie in [16000, 96000], got {self.sample_rate}")

    def clips(self) -> ClipTable:
        """Lists every clip, task by task, class by class, split by split."""
        return self._clips

    @property
    def list_version(self) -> str:
        """The settings say all."""
        return "made"

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Makes one clip."""
        clip = self._clips.paths[index]
        rng = np.random.Generator(np.random.PCG64(derive(self.seed, "synthetic", clip)))
        task, name, _, _ = clip.split("/")
        length = count(self.seconds, self.sample_rate)
        onset = rng.uniform(0.0, _LATEST_ONSET)
        dry = np.zeros(length)
        event = _TASKS[task].sound(
            name, length - count(onset, self.sample_rate), self.sample_rate, rng
        )
        place(event, into=dry, at=onset, rate=self.sample_rate)
        return _heard(dry, self.sample_rate, rng).astype(np.float32), self.sample_rate

    def content_digest(self, index: int) -> str:
        """Names what a clip is made from: the last bit of its samples may differ by machine."""
        seconds, rate = float(self.seconds), self.sample_rate
        key = f"{self._clips.paths[index]} {seconds!r} {rate} version {self.version}"
        return f"{derive(self.seed, 'synthetic', key):016x}"

    def stamp(self, index: int) -> str:
        """A made clip never changes."""
        return "made"

    @property
    def is_synthetic(self) -> bool:
        """The clips are computed."""
        return True

    @property
    def _splits(self) -> tuple[tuple[str, int], ...]:
        return (
            ("train", self.clips_per_class),
            ("valid", self.valid_per_class),
            ("test", self.test_per_class),
        )

    @cached_property
    def _clips(self) -> ClipTable:
        return ClipTable.from_clips(
            ClipInfo(path=f"{task}/{name}/{split}/{index}", label=name, task=task, split=split)
            for task, room in _TASKS.items()
            for name in room.CLASSES
            for split, number in self._splits
            for index in range(number)
        )


def _heard(dry: Samples, rate: int, rng: Rng) -> Samples:
    """Puts a sound into a room, behind noise and a microphone, at some level."""
    from scipy import signal  # only for who makes clips: a plan reads those in the cache

    wet = dry + _reverberation(dry, rate, rng)
    wet /= np.abs(wet).max()
    hiss = signal.lfilter([1.0], [1.0, -rng.uniform(0.0, 0.95)], noise(len(dry), rng))
    snr = rng.uniform(8.0, 30.0)
    hiss *= np.sqrt(np.mean(np.square(wet)) / np.mean(np.square(hiss))) * 10 ** (-snr / 20)
    tilted = signal.lfilter([1.0, rng.uniform(-0.35, 0.35)], [1.0], wet + hiss)
    level = 10 ** (rng.uniform(-20.0, -1.0) / 20)
    return np.asarray(tilted * (level / np.abs(tilted).max()))


def _reverberation(dry: Samples, rate: int, rng: Rng) -> Samples:
    """Returns a sound's echo: noise that decays exponentially, within 60 ms."""
    from scipy import signal

    seconds = rng.uniform(0.01, 0.06)
    tail = count(3 * seconds, rate)
    response = noise(tail, rng) * decay(tail, seconds, rate)
    response *= rng.uniform(0.0, 0.6) / np.sqrt(np.sum(np.square(response)))
    return np.asarray(signal.oaconvolve(dry, response)[: len(dry)])
