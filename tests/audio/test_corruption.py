"""Test clips with noise, reverberation or a shift, made up from the clips of another source."""

from dataclasses import replace

import numpy as np
import pytest

from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.corruption import Corrupted, add_noise, add_reverberation
from ablate.audio.source import AbstractSource
from ablate.audio.synthetic import Synthetic
from ablate.parts import get_identity
from ablate.testing import check_source

CLEAN = Synthetic(clips_per_class=1, valid_per_class=1, test_per_class=1, seconds=1.0)
NOISY = Corrupted(source=CLEAN, snr_db=10)


class Folds(AbstractSource):
    def clips(self):
        return ClipTable.from_clips(ClipInfo(i, i, "t", fold=i) for i in "01")

    def read(self, index):
        return np.ones(100, dtype=np.float32), 16000


@pytest.mark.parametrize(
    "settings",
    [
        {"snr_db": 10},
        {"reverb_seconds": 0.3},
        {"shift_seconds": 0.2},
        {"snr_db": 0, "clips_changed": "all"},
    ],
)
def test_it_is_a_source(settings):
    check_source(Corrupted(source=CLEAN, **settings), max_clips=4)


def test_only_test_clips_are_changed():
    for index, clip in enumerate(CLEAN.clips()):
        same = np.array_equal(CLEAN.read(index)[0], NOISY.read(index)[0])
        assert same == (clip.split != "test")
        assert same == (CLEAN.content_digest(index) == NOISY.content_digest(index))
        assert np.array_equal(NOISY.read(index)[0], NOISY.stream(index).read())


def test_other_seeds_and_clips_have_other_noise():
    tests = np.flatnonzero(CLEAN.clips().splits.equals("test"))[:2].tolist()
    other = Corrupted(source=CLEAN, snr_db=10, seed=1)
    noises = [source.read(i)[0] - CLEAN.read(i)[0] for source in (NOISY, other) for i in tests]
    correlations = np.abs(np.corrcoef(noises))[np.triu_indices(4, k=1)]
    assert correlations.max() < 0.2


@pytest.mark.parametrize("color", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5, 20])
def test_noise_has_the_ratio_and_the_spectrum_of_the_settings(color, snr_db):
    rng = np.random.default_rng(0)
    sound = np.sin(np.arange(2**16) / 7)
    noise = add_noise(sound, snr_db, color, rng) - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(snr_db)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(8, 15)]
    slope = np.polyfit(np.arange(7), 10 * np.log10(octaves), 1)[0]  # dB per octave
    assert slope == pytest.approx(0 if color == "white" else -3, abs=0.5)


@pytest.mark.parametrize("seconds", [0.2, 0.8])
def test_sound_falls_by_60_db_in_the_reverberation_time(seconds):
    rate = 16000
    click = np.zeros(2 * rate)
    click[0] = 1.0
    reverberant = add_reverberation(click, seconds, rate, np.random.default_rng(0))
    assert np.mean(reverberant**2) == pytest.approx(np.mean(click**2))
    assert reverberant[0] ** 2 == pytest.approx((reverberant[1:] ** 2).sum(), rel=1e-3)
    left = np.cumsum(reverberant[:0:-1] ** 2)[::-1]  # energy after each time (Schroeder 1965)
    levels = 10 * np.log10(left / left[0])
    start, stop = np.argmax(levels < -5), np.argmax(levels < -35)
    assert 2 * (stop - start) / rate == pytest.approx(seconds, rel=0.1)


def test_a_clip_is_moved_in_a_circle_by_at_most_the_seconds_of_the_settings():
    moved = Corrupted(source=CLEAN, shift_seconds=0.1, clips_changed="all")
    shifts = []
    for index in range(len(CLEAN.clips())):
        (before, rate), (after, _) = CLEAN.read(index), moved.read(index)
        correlation = np.fft.irfft(np.fft.rfft(after) * np.fft.rfft(before).conj(), len(before))
        shift = (int(correlation.argmax()) + len(before) // 2) % len(before) - len(before) // 2
        assert np.array_equal(np.roll(before, shift), after)
        shifts.append(shift / rate)
    assert max(map(abs, shifts)) <= 0.1 + 1 / rate
    assert min(shifts) < -0.02
    assert max(shifts) > 0.02
    assert len(set(shifts)) > len(shifts) / 2


def test_a_shift_changes_neither_the_noise_nor_the_identity_of_sources_without_it():
    both = Corrupted(source=CLEAN, snr_db=10, shift_seconds=0.1, clips_changed="all")
    noisy, moved = (replace(both, shift_seconds=None), replace(both, snr_db=None))
    added = both.read(0)[0] - moved.read(0)[0]
    assert np.allclose(added, noisy.read(0)[0] - CLEAN.read(0)[0], atol=1e-5)
    assert "shift_seconds" not in get_identity(noisy)
    assert len({source.content_digest(0) for source in (both, noisy, moved, CLEAN)}) == 4


def test_silence_stays_silent():
    class Silence(Folds):
        def read(self, index):
            return np.zeros(100, dtype=np.float32), 16000

    source = Corrupted(source=Silence(), snr_db=0, reverb_seconds=1.0, clips_changed="all")
    assert not source.read(0)[0].any()


def test_folds_need_all_clips_to_be_changed():
    with pytest.raises(ValueError, match="set `clips_changed: all`"):
        Corrupted(source=Folds(), snr_db=0).clips()
    assert len(Corrupted(source=Folds(), snr_db=0, clips_changed="all").clips()) == 2


class Twice(AbstractSource):
    """A file that is trained on in one task and tested on in another."""

    def clips(self):
        clips = [ClipInfo("a", "x", "one", split="train"), ClipInfo("a", "y", "two", split="test")]
        return ClipTable.from_clips([*clips, ClipInfo("b", "x", "two", split="test")])

    def read(self, index):
        return np.ones(100, dtype=np.float32), 16000


def test_a_file_is_a_test_clip_of_all_its_tasks_or_of_none():
    message = "`a` has split `train` in task `one` but `test` in task `two`; .*`clips_changed: all`"
    with pytest.raises(ValueError, match=message):
        Corrupted(source=Twice(), snr_db=0).clips()
    assert len(Corrupted(source=Twice(), snr_db=0, clips_changed="all").clips()) == 3


def test_the_clips_of_a_list_are_not_compared_for_each_clip_that_is_read(monkeypatch):
    compared = []
    equals = type(CLEAN.clips().splits).equals

    def count_and_compare(column, text):
        compared.append(text)
        return equals(column, text)

    monkeypatch.setattr(type(CLEAN.clips().splits), "equals", count_and_compare)
    NOISY.read(0)
    NOISY.content_digest(1)
    assert not compared


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing would be changed; set `snr_db`"),
        ({"snr_db": 200}, r"`snr_db` must lie in \[-60, 100\]; got 200"),
        ({"reverb_seconds": 0}, r"`reverb_seconds` must lie in \[0.01, 20\]; got 0"),
        ({"shift_seconds": 0}, r"`shift_seconds` must lie in \[0.001, 3600\]; got 0"),
    ],
)
def test_settings_out_of_range_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        Corrupted(source=CLEAN, **settings)
