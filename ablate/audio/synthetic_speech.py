"""Generates synthetic words: ten pairs of syllables that differ in the order of their phones.

`ta-i` and `ti-a` have the same phones in another order, so statistics over time cannot fully
separate them. Voices differ in pitch, length of the vocal tract, and pace.
"""

import numpy as np

from ablate.audio.synthetic_sound import (
    Rng,
    Samples,
    band_noise,
    decay,
    fade,
    num_samples,
    place,
    pulses,
    resonate,
    slow_noise,
    unit_power,
)

CLASSES = ("ta-i", "ti-a", "sa-i", "si-a", "tu-e", "te-u", "su-e", "se-u", "ma-u", "mu-a")

FORMANTS = {  # hertz, for a vocal tract of length 1
    "a": (730.0, 1200.0, 2500.0),
    "e": (480.0, 1850.0, 2550.0),
    "i": (290.0, 2250.0, 3000.0),
    "u": (320.0, 850.0, 2300.0),
    "m": (250.0, 1100.0, 2200.0),
}
NEUTRAL = np.array([500.0, 1500.0, 2500.0])
BANDWIDTHS = {"m": (120.0, 400.0, 500.0)}  # hertz; wider for a closed mouth
OPEN = (80.0, 110.0, 170.0)


def sound(name: str, length: int, rate: int, rng: Rng) -> Samples:
    """Generates one word in a random voice, (length,); `name` is one of `CLASSES`."""
    consonant, first, second = name[0], name[1], name[3]
    pace = rng.uniform(0.75, 1.3)
    tract = rng.uniform(0.87, 1.16)
    onset = {"t": 0.055, "s": 0.11, "m": 0.09}[consonant] / pace
    voiced = _voiced(
        [consonant, first, second] if consonant == "m" else [first, second],
        [onset] * (consonant == "m") + [rng.uniform(0.17, 0.37) / pace for _ in range(2)],
        tract=tract,
        rate=rate,
        rng=rng,
    )
    word = np.zeros(length)
    place(voiced, into=word, at=0.0 if consonant == "m" else onset, rate=rate)
    if consonant == "t":
        _plosive(word, tract, rate, rng)
    elif consonant == "s":
        _fricative(word, onset, tract, rate, rng)
    return word


def _voiced(
    phones: list[str], seconds: list[float], *, tract: float, rate: int, rng: Rng
) -> Samples:
    """Synthesises voiced phones, each gliding into the next."""
    length = num_samples(sum(seconds), rate)
    source = pulses(_pitch(length, rate, rng), rate)
    source += 0.01 * rng.standard_normal(length)  # breath
    slack = rng.uniform(0.0, 0.45)  # lax articulation: towards the neutral vowel
    glide = rng.uniform(0.04, 0.14)
    edges = np.cumsum(seconds)[:-1]
    times = np.arange(length) / rate
    begun = [np.ones(length), *(np.clip((times - edge) / glide + 0.5, 0, 1) for edge in edges)]
    voice = np.zeros(length)
    for index, phone in enumerate(phones):
        share = begun[index] - (begun[index + 1] if index + 1 < len(phones) else 0.0)
        widths = BANDWIDTHS.get(phone, OPEN)
        hertz = slack * NEUTRAL + (1 - slack) * np.array(FORMANTS[phone])
        hertz *= rng.uniform(0.92, 1.08, 3) / tract  # every vowel differs a little
        peaks = list(zip(hertz, widths, strict=True))
        level = 0.5 if phone == "m" else rng.uniform(0.5, 1.0)
        voice += level * share * unit_power(resonate(source, peaks, rate))
    return voice * fade(length, attack=0.02, release=0.08, rate=rate)


def _pitch(length: int, rate: int, rng: Rng) -> Samples:
    """Draws a pitch curve in hertz: base pitch, slope over the word, and jitter."""
    height = 90.0 * (240.0 / 90.0) ** rng.uniform()
    slope = np.linspace(0.0, rng.uniform(-0.25, 0.1), length)
    return np.asarray(height * np.exp(slope + 0.02 * slow_noise(length, 6.0, rate, rng)))


def _plosive(word: Samples, tract: float, rate: int, rng: Rng) -> None:
    length = num_samples(0.05, rate)
    burst = band_noise(length, 3200.0 / tract, 6500.0 / tract, rate, rng)
    burst *= decay(length, rng.uniform(0.008, 0.025), rate)
    place(rng.uniform(0.15, 0.7) * burst, into=word, at=0.0, rate=rate)


def _fricative(word: Samples, seconds: float, tract: float, rate: int, rng: Rng) -> None:
    length = num_samples(seconds + 0.02, rate)
    hiss = band_noise(length, 3600.0 / tract, 7000.0 / tract, rate, rng)
    hiss *= fade(length, attack=0.02, release=0.03, rate=rate)
    place(rng.uniform(0.04, 0.2) * hiss, into=word, at=0.0, rate=rate)
