"""Generates ten synthetic environmental sounds: weather, animals and machines.

Rising and falling chirps, and swell and decay, are time reversals of each other: statistics over
time cannot separate them.
"""

from collections.abc import Callable

import numpy as np

from ablate.audio.synthetic_sound import (
    Rng,
    Samples,
    band_noise,
    decay,
    fade,
    noise,
    num_samples,
    partials,
    phase,
    place,
    resonate,
    slow_noise,
    unit_power,
)


def sound(name: str, length: int, rate: int, rng: Rng) -> Samples:
    """Generates one sound, (length,); `name` is one of `CLASSES`."""
    return _SOUNDS[name](length, rate, rng)


def _rain(length: int, rate: int, rng: Rng) -> Samples:
    hiss = band_noise(length, rng.uniform(800.0, 2500.0), 7500.0, rate, rng)
    drops = np.zeros(length)
    for _ in range(rng.integers(8, 30)):
        size = num_samples(0.012, rate)
        drop = noise(size, rng) * decay(size, 0.003, rate)
        place(
            rng.uniform(1.0, 4.0) * drop, into=drops, at=_draw_onset(length, rate, rng), rate=rate
        )
    return hiss + drops


def _wind(length: int, rate: int, rng: Rng) -> Samples:
    howl = band_noise(length, 60.0, rng.uniform(300.0, 1200.0), rate, rng)
    gusts = 1 + rng.uniform(0.4, 0.9) * slow_noise(length, rng.uniform(0.8, 2.5), rate, rng)
    return howl * gusts


def _barks(length: int, rate: int, rng: Rng) -> Samples:
    yard, hertz = np.zeros(length), rng.uniform(300.0, 700.0)
    for start in _draw_onsets(length, rate, 1, 4, rng):
        size = num_samples(rng.uniform(0.09, 0.18), rate)
        fall = hertz * rng.uniform(0.9, 1.1) * np.linspace(1.25, 0.8, size)
        numbers = [1.0, 2.0, 3.0, 4.0, 5.0]
        bark = partials(phase(fall, size, rate), numbers, [0.8, 1.0, 0.7, 0.4, 0.2])
        bark += 0.5 * noise(size, rng)
        place(
            bark * fade(size, attack=0.01, release=0.1, rate=rate), into=yard, at=start, rate=rate
        )
    return yard


def _siren(length: int, rate: int, rng: Rng) -> Samples:
    times = np.arange(length) / rate
    swing = np.sin(2 * np.pi * (rng.uniform(0.8, 2.5) * times + rng.uniform()))
    middle = rng.uniform(600.0, 1300.0)
    curve = middle * (1 + rng.uniform(0.15, 0.4) * swing)
    return partials(phase(curve, length, rate), [1.0, 2.0, 3.0], [1.0, 0.4, 0.2])


def _engine(length: int, rate: int, rng: Rng) -> Samples:
    hertz = rng.uniform(35.0, 90.0) * (1 + 0.05 * slow_noise(length, 2.0, rate, rng))
    cycles = phase(hertz, length, rate)
    strokes = (0.5 + 0.5 * np.sin(2 * np.pi * cycles)) ** 2
    hum = partials(cycles, [1.0, 2.0, 3.0, 4.0, 6.0], [1.0, 0.8, 0.6, 0.5, 0.3])
    rattle = band_noise(length, 150.0, rng.uniform(900.0, 2500.0), rate, rng)
    return unit_power(hum) + 0.8 * rattle * strokes


def _rising_chirps(length: int, rate: int, rng: Rng) -> Samples:
    return _chirps(length, rate, rng)


def _falling_chirps(length: int, rate: int, rng: Rng) -> Samples:
    return _chirps(length, rate, rng)[::-1].copy()


def _chirps(length: int, rate: int, rng: Rng) -> Samples:
    trees, low = np.zeros(length), rng.uniform(1500.0, 3000.0)
    high = low * rng.uniform(1.3, 2.0)
    for start in _draw_onsets(length, rate, 2, 6, rng):
        size = num_samples(rng.uniform(0.06, 0.16), rate)
        chirp = np.sin(2 * np.pi * phase(np.linspace(low, high, size), size, rate))
        place(
            chirp * fade(size, attack=0.02, release=0.02, rate=rate),
            into=trees,
            at=start,
            rate=rate,
        )
    return trees


def _knocks(length: int, rate: int, rng: Rng) -> Samples:
    knocks, size = np.zeros(length), num_samples(0.12, rate)
    peaks = [(rng.uniform(150.0, 500.0), 40.0), (rng.uniform(600.0, 1400.0), 120.0)]
    for start in _draw_onsets(length, rate, 2, 6, rng):
        hit = noise(size, rng) * decay(size, 0.004, rate)
        place(unit_power(resonate(hit, peaks, rate)), into=knocks, at=start, rate=rate)
    return knocks


def _swell(length: int, rate: int, rng: Rng) -> Samples:
    return _decay(length, rate, rng)[::-1].copy()


def _decay(length: int, rate: int, rng: Rng) -> Samples:
    low = rng.uniform(100.0, 1500.0)
    wash = band_noise(length, low, low * rng.uniform(2.0, 5.0), rate, rng)
    return wash * decay(length, rng.uniform(0.15, 0.4) * length / rate, rate)


def _draw_onset(length: int, rate: int, rng: Rng) -> float:
    return rng.uniform(0.0, length / rate)


def _draw_onsets(length: int, rate: int, low: int, high: int, rng: Rng) -> list[float]:
    """Draws `low` to `high` onsets in seconds, one in each of as many equal intervals."""
    number = int(rng.integers(low, high + 1))
    interval = length / rate / number
    return [interval * (index + rng.uniform(0.0, 0.5)) for index in range(number)]


_SOUNDS: dict[str, Callable[[int, int, Rng], Samples]] = {
    "rain": _rain,
    "wind": _wind,
    "barks": _barks,
    "siren": _siren,
    "engine": _engine,
    "rising-chirps": _rising_chirps,
    "falling-chirps": _falling_chirps,
    "knocks": _knocks,
    "swell": _swell,
    "decay": _decay,
}
CLASSES = tuple(_SOUNDS)
