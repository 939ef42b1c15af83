"""Clips with noise, with reverberation or moved in time, to see how robust features are.

Noise of a given signal-to-noise ratio, and an exponentially decaying room response (Polack, "La
transmission de l'énergie sonore dans les salles", 1988), as robustness is measured by SUPERB-SG
(Tsai et al., 2022, https://arxiv.org/abs/2203.06849) and NatHEAR
(https://arxiv.org/abs/2602.03307).
Unlike these: both are made up, not recorded, so that they need no data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipTable
from ablate.audio.hashing import create_hasher
from ablate.audio.source import AbstractSource, Duplicates, RareClasses
from ablate.audio.synthetic_sound import Rng, Samples, unit_power
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.random import derive
from ablate.parts import AS_BEFORE


@dataclass(frozen=True, kw_only=True)
class Corrupted(AbstractSource):
    """The clips of another source, of which the test clips have noise, reverberation or a shift.

    A probe that scores them says how much is lost when the sound at hand is worse than what the
    probe was trained on. A clip has the same noise in every run. Clips are read as a whole.

    Args:
        source: The source of the clips.
        snr_db: Power of a clip over that of the noise in dB; unset, there is no noise.
        noise: Spectrum of the noise: `white`, or `pink`, which falls by 3 dB per octave.
        reverb_seconds: Reverberation time, in which the sound of the room falls by 60 dB; unset,
            there is no reverberation. Direct sound and room have the same power.
        shift_seconds: Most seconds by which a clip is moved in time, drawn evenly between so much
            earlier and so much later; what leaves at one end enters at the other. Unset, no clip
            is moved. A clip is moved before it gets reverberation and noise.
        clips_changed: Which clips are changed: those of the split `test`, or `all`, which folds
            need because each clip is then trained on, too.
        seed: Seed of noise and rooms.

    Raises:
        ValueError: for settings out of range, and if nothing would be changed.

    Example:
        probes: {noisy: {type: ablate.probing.knn.KNN, tasks: {
          type: ablate.audio.corruption.Corrupted, snr_db: 10, source: {
            type: ablate.audio.sources.Folder, manifest: birds/manifest.csv}}}}
    """

    source: AbstractSource
    snr_db: float | None = None
    noise: Literal["white", "pink"] = "pink"
    reverb_seconds: float | None = None
    shift_seconds: float | None = field(default=None, metadata={AS_BEFORE: None})
    clips_changed: Literal["test", "all"] = "test"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.snr_db is None and self.reverb_seconds is None and self.shift_seconds is None:
            raise ValueError(
                "nothing would be changed; set `snr_db`, `reverb_seconds` or `shift_seconds`"
            )
        if self.snr_db is not None and not -60 <= self.snr_db <= 100:
            raise ValueError(f"`snr_db` must lie in [-60, 100]; got {self.snr_db}")
        if self.reverb_seconds is not None and not 0.01 <= self.reverb_seconds <= 20:
            raise ValueError(f"`reverb_seconds` must lie in [0.01, 20]; got {self.reverb_seconds}")
        if self.shift_seconds is not None and not 0.001 <= self.shift_seconds <= 3600:
            raise ValueError(f"`shift_seconds` must lie in [0.001, 3600]; got {self.shift_seconds}")

    def clips(self) -> ClipTable:
        """Lists the clips of the source.

        Raises `ValueError`, unless all clips are changed, for folds, and for a clip that is tested
        on in one task and not in another: its sound is stored once, for all tasks.
        """
        table = self.source.clips()
        if self.clips_changed == "all":
            return table
        if not table.folds.equals("").all():
            raise ValueError(
                "clips with folds are trained on in all other folds, so no clip is only tested on; "
                "set `clips_changed: all`"
            )
        is_test = table.splits.equals("test")
        differs = np.flatnonzero(is_test != is_test[table.first_with_path])
        if len(differs):
            clip = table[int(differs[0])]
            first = table[int(table.first_with_path[differs[0]])]
            raise ValueError(
                f"`{clip.path}` has split `{first.split}` in task `{first.task}` but "
                f"`{clip.split}` in task `{clip.task}`; give it the same split in both, drop it "
                "from one, or set `clips_changed: all`"
            )
        return table

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Reads a clip, and changes it if it is one to change."""
        samples, rate = self.source.read(index)
        if not self._changes(index) or not samples.any():
            return samples, rate
        path = self.source.clips().paths[index]
        rng = np.random.default_rng(derive(self.seed, "corruption", path))
        changed = samples.astype(np.float64)
        if self.shift_seconds is not None:
            shift_rng = np.random.default_rng(derive(self.seed, "shift", path))
            changed = shift(changed, self.shift_seconds, rate, shift_rng)
        if self.reverb_seconds is not None:
            changed = add_reverberation(changed, self.reverb_seconds, rate, rng)
        if self.snr_db is not None:
            changed = add_noise(changed, self.snr_db, self.noise, rng)
        return changed.astype(np.float32), rate

    def stream(self, index: int) -> WaveformStream:
        """Opens a clip; one to change is read as a whole."""
        return super().stream(index) if self._changes(index) else self.source.stream(index)

    def content_digest(self, index: int) -> str:
        """Hashes the digest of the clip in the source, and the settings if it is changed."""
        digest = self.source.content_digest(index)
        if not self._changes(index):
            return digest
        hasher = create_hasher()
        settings: tuple[object, ...] = (self.snr_db, self.noise, self.reverb_seconds, self.seed)
        if self.shift_seconds is not None:
            settings += (self.shift_seconds,)
        hasher.update(repr((digest, self.source.clips().paths[index], settings)).encode())
        return hasher.hexdigest()

    def _changes(self, index: int) -> bool:
        return self.clips_changed == "all" or self.source.clips().splits[index] == "test"

    @property
    def skipped_clips(self) -> Sequence[tuple[str, str]]:
        """Those of the source."""
        return self.source.skipped_clips

    @property
    def list_version(self) -> str:
        """That of the source."""
        return self.source.list_version

    @property
    def has_files(self) -> bool:
        """Whether the source has files."""
        return self.source.has_files

    def stamp(self, index: int) -> str | None:
        """Returns the stamp of clip `index` in the source."""
        return self.source.stamp(index)

    def describe_missing(self, index: int) -> str:
        """Describes why clip `index` is missing in the source."""
        return self.source.describe_missing(index)

    @property
    def location(self) -> str:
        """That of the source."""
        return self.source.location

    @property
    def is_synthetic(self) -> bool:
        """Whether the clips of the source are computed."""
        return self.source.is_synthetic

    @property
    def skips_bad_audio(self) -> bool:
        """As in the source."""
        return self.source.skips_bad_audio

    @property
    def skips_silence(self) -> bool:
        """As in the source."""
        return self.source.skips_silence

    @property
    def rare_class_policy(self) -> RareClasses:
        """As in the source."""
        return self.source.rare_class_policy

    @property
    def duplicate_policy(self) -> Duplicates:
        """As in the source."""
        return self.source.duplicate_policy


def shift(samples: Samples, seconds: float, rate: int, rng: Rng) -> Samples:
    """Moves a clip, (samples,), in a circle by up to so many seconds, earlier or later."""
    return np.roll(samples, round(rng.uniform(-seconds, seconds) * rate), axis=0)


def add_noise(samples: Samples, snr_db: float, color: str, rng: Rng) -> Samples:
    """Adds noise to a clip, (samples,); its power is `snr_db` below the mean power of the clip."""
    noise = rng.standard_normal(len(samples))
    if color == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(
            spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(noise)
        )
    level = np.sqrt(np.mean(np.square(samples)) * 10 ** (-snr_db / 10))
    return np.asarray(samples + level * unit_power(noise))


def add_reverberation(samples: Samples, seconds: float, rate: int, rng: Rng) -> Samples:
    """Adds the sound of a room with a reverberation time to a clip, (samples,).

    The clip keeps its length and its power. The room is noise that decays by 60 dB in `seconds`,
    of the same energy as the direct sound.
    """
    from scipy.signal import fftconvolve

    times = np.arange(1, max(2, round(seconds * rate))) / rate
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    changed = fftconvolve(samples, response)[: len(samples)]
    power = np.sqrt(np.mean(np.square(samples)))
    return np.asarray(power * unit_power(changed))
