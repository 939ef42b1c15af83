"""Building blocks of the synthetic sounds: noise, pulses, partials, envelopes, resonances.

Everything is a float64 array of samples at `rate` Hz; random values are drawn from `rng`.
"""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
Rng = np.random.Generator


def num_samples(seconds: float, rate: int) -> int:
    """Returns the number of samples in `seconds`, at least one."""
    return max(1, round(seconds * rate))


def place(sound: Samples, *, into: Samples, at: float, rate: int) -> None:
    """Adds `sound` to `into`, starting at `at` seconds; samples past the end are dropped."""
    start = round(at * rate)
    length = max(0, min(len(sound), len(into) - start))
    into[start : start + length] += sound[:length]


def fade(length: int, *, attack: float, release: float, rate: int) -> Samples:
    """Returns an envelope that rises for `attack` seconds and falls for the last `release`."""
    steps = np.arange(length)
    rise = (steps + 1) / (attack * rate + 1)
    fall = (length - steps) / (release * rate + 1)
    return np.clip(np.minimum(rise, fall), 0.0, 1.0)


def decay(length: int, seconds: float, rate: int) -> Samples:
    """Returns an envelope that falls to 1/e within `seconds`."""
    return np.asarray(np.exp(np.arange(length) / (-seconds * rate)))


def noise(length: int, rng: Rng) -> Samples:
    """Returns white noise of unit power."""
    return rng.standard_normal(length)


def band_noise(length: int, low: float, high: float, rate: int, rng: Rng) -> Samples:
    """Returns noise from `low` to `high` hertz, of unit power over its own length."""
    from scipy import signal  # imported late: cached clips do not need it

    nyquist = 0.49 * rate
    band = (max(20.0, min(low, 0.8 * nyquist)), min(high, nyquist))
    filtered = signal.sosfilt(
        signal.butter(2, band, "bandpass", fs=rate, output="sos"), noise(length, rng)
    )
    return unit_power(filtered)


def slow_noise(length: int, hertz: float, rate: int, rng: Rng) -> Samples:
    """Returns a random curve in about [-1, 1] that changes direction `hertz` times per second."""
    knots = max(4, int(length / rate * hertz * 2) + 3)
    positions = np.linspace(0.0, knots - 1.0, length)
    return np.interp(positions, np.arange(knots), rng.uniform(-1.0, 1.0, knots))


def phase(hertz: Samples | float, length: int, rate: int) -> Samples:
    """Returns the phase, in cycles, of an oscillator with a constant or varying frequency."""
    return np.cumsum(np.broadcast_to(np.asarray(hertz, dtype=np.float64), (length,))) / rate


def pulses(hertz: Samples, rate: int) -> Samples:
    """Returns one impulse per cycle of a frequency curve."""
    cycles = np.floor(phase(hertz, len(hertz), rate))
    return np.diff(cycles, prepend=0.0)


def partials(cycles: Samples, multiples: list[float], gains: list[float]) -> Samples:
    """Returns the sum of sines at `multiples` of a fundamental's phase, each with a gain."""
    waves = np.sin(2 * np.pi * np.outer(multiples, cycles))
    return np.asarray(np.asarray(gains) @ waves)


def resonate(source: Samples, peaks: list[tuple[float, float]], rate: int) -> Samples:
    """Filters `source` with a cascade of resonances, each (hertz, bandwidth in hertz)."""
    from scipy import signal

    sections = []
    for hertz, bandwidth in peaks:
        radius = np.exp(-np.pi * bandwidth / rate)
        middle = -2 * radius * np.cos(2 * np.pi * min(hertz, 0.45 * rate) / rate)
        # unit gain at 0 Hz, as in a cascade formant synthesiser: levels follow the formants
        sections.append([1 + middle + radius**2, 0.0, 0.0, 1.0, middle, radius**2])
    return np.asarray(signal.sosfilt(np.array(sections), source))


def unit_power(sound: Samples) -> Samples:
    """Scales a sound to unit power; silence stays silent."""
    power = float(np.sqrt(np.mean(np.square(sound))))
    return sound / power if power > 0 else sound
