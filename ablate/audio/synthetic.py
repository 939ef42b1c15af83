"""A synthetic corpus of three labelled tasks, so that a study runs without any data.

Speech, music and environment, with ten classes each. A clip depends only on the seed and on its
own task, class, split and index, not on which other clips are generated.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ablate.audio import synthetic_environment, synthetic_music, synthetic_speech
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.source import AbstractSource
from ablate.audio.synthetic_sound import Rng, Samples, decay, noise, num_samples, place
from ablate.core.random import derive

_TASKS = {
    "speech": synthetic_speech,
    "music": synthetic_music,
    "environment": synthetic_environment,
}
_LATEST_ONSET = 0.16  # seconds


@dataclass(frozen=True, kw_only=True)
class Synthetic(AbstractSource):
    """Ten words, ten triads and ten environmental sounds, with noise, reverberation and level.

    Args:
        clips_per_class: Training clips per class.
        valid_per_class: Validation clips per class.
        test_per_class: Test clips per class. With 40, noise of the clips is a large part of what
            looks like a spread over seeds; scoring more costs no training.
        seconds: Duration of a clip in seconds.
        sample_rate: Sample rate in Hz.
        seed: Seed of the corpus, which is the same for all seeds of a study.

    Raises:
        ValueError: for a setting out of range.

    Example:
        >>> samples, sample_rate = Synthetic(clips_per_class=2).read(0)
        >>> samples.shape, sample_rate
        ((20480,), 16000)
    """

    version: ClassVar[int] = 1

    clips_per_class: int = 60
    valid_per_class: int = 20
    test_per_class: int = 160
    seconds: float = 1.28
    sample_rate: int = 16000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clips_per_class", "valid_per_class", "test_per_class"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}")
        if not 1 <= self.seconds <= 60:
            raise ValueError(f"`seconds` must lie in [1, 60], got {self.seconds}")
        if not 16000 <= self.sample_rate <= 96000:
            raise ValueError(f"`sample_rate` must lie in [16000, 96000], got {self.sample_rate}")

    def clips(self) -> ClipTable:
        """Lists every clip, ordered by task, class and split."""
        return self._clips

    @property
    def list_version(self) -> str:
        """A constant: the clips depend on the settings alone."""
        return "made"

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Generates one clip."""
        clip = self._clips.paths[index]
        rng = np.random.Generator(np.random.PCG64(derive(self.seed, "synthetic", clip)))
        task, name, _, _ = clip.split("/")
        length = num_samples(self.seconds, self.sample_rate)
        onset = rng.uniform(0.0, _LATEST_ONSET)
        dry = np.zeros(length)
        event = _TASKS[task].sound(
            name, length - num_samples(onset, self.sample_rate), self.sample_rate, rng
        )
        place(event, into=dry, at=onset, rate=self.sample_rate)
        return _record(dry, self.sample_rate, rng).astype(np.float32), self.sample_rate

    def content_digest(self, index: int) -> str:
        """Hashes the settings of a clip: the last bits of its samples may differ by machine."""
        seconds, rate = float(self.seconds), self.sample_rate
        key = f"{self._clips.paths[index]} {seconds!r} {rate} version {self.version}"
        return f"{derive(self.seed, 'synthetic', key):016x}"

    def stamp(self, index: int) -> str:
        """A made clip never changes."""
        return "made"

    @property
    def is_synthetic(self) -> bool:
        """True: the clips are computed."""
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
            for task, module in _TASKS.items()
            for name in module.CLASSES
            for split, number in self._splits
            for index in range(number)
        )


def _record(dry: Samples, rate: int, rng: Rng) -> Samples:
    """Adds reverberation, noise, a spectral tilt and a level to a sound."""
    from scipy import signal  # imported late: cached clips do not need it

    wet = dry + _reverberation(dry, rate, rng)
    wet /= np.abs(wet).max()
    hiss = signal.lfilter([1.0], [1.0, -rng.uniform(0.0, 0.95)], noise(len(dry), rng))
    snr = rng.uniform(8.0, 30.0)
    hiss *= np.sqrt(np.mean(np.square(wet)) / np.mean(np.square(hiss))) * 10 ** (-snr / 20)
    tilted = signal.lfilter([1.0, rng.uniform(-0.35, 0.35)], [1.0], wet + hiss)
    level = 10 ** (rng.uniform(-20.0, -1.0) / 20)
    return np.asarray(tilted * (level / np.abs(tilted).max()))


def _reverberation(dry: Samples, rate: int, rng: Rng) -> Samples:
    """Returns the reverberation of a sound: exponentially decaying noise, up to 60 ms."""
    from scipy import signal

    seconds = rng.uniform(0.01, 0.06)
    tail = num_samples(3 * seconds, rate)
    response = noise(tail, rng) * decay(tail, seconds, rate)
    response *= rng.uniform(0.0, 0.6) / np.sqrt(np.sum(np.square(response)))
    return np.asarray(signal.oaconvolve(dry, response)[: len(dry)])
