"""Generates synthetic music: five timbres, each playing a rising or a falling triad.

Only the order of the notes differs between a rising and a falling triad: their statistics over time
are the same. Root, tempo and tuning vary between clips.
"""

from collections.abc import Callable

import numpy as np

from ablate.audio.synthetic_sound import (
    Rng,
    Samples,
    decay,
    fade,
    num_samples,
    partials,
    phase,
    place,
)

INTERVALS = (0.0, 4.0, 7.0)  # semitones above the root
TIMBRES = ("pluck", "bell", "bowed", "reed", "organ")
CLASSES = tuple(f"{timbre}-{way}" for timbre in TIMBRES for way in ("rising", "falling"))


def sound(name: str, length: int, rate: int, rng: Rng) -> Samples:
    """Generates one triad, (length,); `name` is one of `CLASSES`."""
    timbre, way = name.split("-")
    root = 165.0 * 2 ** rng.uniform(0.0, 1.25)
    beat = rng.uniform(0.2, 0.34)  # seconds
    ring = beat * rng.uniform(1.0, 1.6)
    music = np.zeros(length)
    for index, interval in enumerate(INTERVALS if way == "rising" else INTERVALS[::-1]):
        hertz = root * 2 ** ((interval + rng.uniform(-0.15, 0.15)) / 12)
        note = _NOTES[timbre](hertz, num_samples(ring, rate), rate, rng)
        note *= fade(len(note), attack=0.003, release=0.03, rate=rate)
        place(rng.uniform(0.7, 1.0) * note, into=music, at=index * beat, rate=rate)
    return music


def _pluck(hertz: float, length: int, rate: int, rng: Rng) -> Samples:
    """A plucked string: high partials decay first."""
    seconds, bright = rng.uniform(0.12, 0.3), rng.uniform(0.6, 1.0)
    cycles = phase(hertz, length, rate)
    note = np.zeros(length)
    for number in _below_nyquist(hertz, 10, rate):
        gain = bright ** (number - 1) / number
        note += gain * np.sin(2 * np.pi * number * cycles) * decay(length, seconds / number, rate)
    return note


def _bell(hertz: float, length: int, rate: int, rng: Rng) -> Samples:
    """Frequency modulation at an inharmonic ratio, with an index that decays."""
    index = rng.uniform(1.5, 4.0) * decay(length, rng.uniform(0.08, 0.2), rate)
    cycles = phase(hertz, length, rate)
    modulator = np.sin(2 * np.pi * rng.choice([1.41, 2.76, 3.5]) * cycles)
    strike = decay(length, rng.uniform(0.15, 0.35), rate)
    return np.asarray(np.sin(2 * np.pi * cycles + index * modulator) * strike)


def _bowed(hertz: float, length: int, rate: int, rng: Rng) -> Samples:
    """All harmonics, with vibrato and a slow attack."""
    times = np.arange(length) / rate
    vibrato = np.sin(2 * np.pi * (rng.uniform(4.5, 6.5) * times + rng.uniform()))
    cycles = phase(hertz * (1 + rng.uniform(0.004, 0.012) * vibrato), length, rate)
    slope = rng.uniform(0.8, 1.3)
    numbers = _below_nyquist(hertz, 12, rate)
    note = partials(cycles, numbers, [number**-slope for number in numbers])
    attack = rng.uniform(0.04, 0.1)
    return note * fade(length, attack=attack, release=0.08, rate=rate)


def _reed(hertz: float, length: int, rate: int, rng: Rng) -> Samples:
    """Odd harmonics, with weak even ones."""
    slope, even = rng.uniform(0.6, 1.2), rng.uniform(0.02, 0.15)
    numbers = _below_nyquist(hertz, 11, rate)
    gains = [number**-slope * (1.0 if number % 2 else even) for number in numbers]
    note = partials(phase(hertz, length, rate), numbers, gains)
    return note * fade(length, attack=rng.uniform(0.015, 0.05), release=0.05, rate=rate)


def _organ(hertz: float, length: int, rate: int, rng: Rng) -> Samples:
    """Octaves and a twelfth, like organ stops; steady."""
    stops = [0.5, 1.0, 2.0, 3.0, 4.0, 8.0]
    gains = [rng.uniform(0.0, 0.5), 1.0, *rng.uniform(0.2, 0.8, 4)]
    note = partials(phase(hertz, length, rate), stops, gains)
    return note * fade(length, attack=0.01, release=0.03, rate=rate)


def _below_nyquist(hertz: float, max_count: int, rate: int) -> list[float]:
    return [float(n) for n in range(1, max_count + 1) if n * hertz < 0.48 * rate]


_NOTES: dict[str, Callable[[float, int, int, Rng], Samples]] = {
    "pluck": _pluck,
    "bell": _bell,
    "bowed": _bowed,
    "reed": _reed,
    "organ": _organ,
}
