"""Files with the same sound are found byte by byte, and after resampling and a change of level."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.near_duplicates import compute_fingerprint, describe_same_sounds, find_same_sounds
from ablate.audio.resampling import resample
from ablate.audio.waveform_stream import Samples
from tests.audio.sounds import create_tone

RATE = 16000


def create_recording(seed: int, seconds: float = 1.5) -> Samples:
    """Returns tones that come and go, in noise."""
    rng = np.random.default_rng(seed)
    sound = create_tone(seconds, RATE, hertz=float(rng.uniform(150, 3000)), seed=seed)
    curve = np.interp(np.linspace(0, 9, len(sound)), range(10), rng.uniform(0.01, 1, 10))
    return (sound * curve).astype(np.float32)


@given(
    seed=st.integers(0, 50),
    rate=st.sampled_from([8000, 11025, 22050, 44100]),
    gain=st.floats(0.02, 1.5),
)
def test_level_and_sample_rate_do_not_change_a_fingerprint(
    seed: int, rate: int, gain: float
) -> None:
    sound = create_recording(seed)
    changed = resample(torch.from_numpy(gain * sound), RATE, rate).numpy()
    one, other = compute_fingerprint(sound, RATE), compute_fingerprint(changed, rate)
    assert one is not None
    assert other is not None
    assert float(one @ other) > 0.96


def test_other_recordings_have_other_fingerprints() -> None:
    vectors = [compute_fingerprint(create_recording(seed), RATE) for seed in range(60)]
    similar = np.stack([vector for vector in vectors if vector is not None])
    products = similar @ similar.T - np.eye(60)
    assert products.max() < 0.9


@pytest.mark.parametrize("sound", [np.zeros(RATE), np.ones(RATE), np.zeros(1)])
def test_a_sound_without_any_change_has_no_fingerprint(sound: Samples) -> None:
    assert compute_fingerprint(sound.astype(np.float32), RATE) is None


def write_files(folder: Path) -> list[Path]:
    """Writes recordings 0 to 3, a copy of 0, 1 at another rate and level, and a text."""
    for seed in range(4):
        soundfile.write(folder / f"{seed}.wav", create_recording(seed), RATE)
    (folder / "copy.wav").write_bytes((folder / "0.wav").read_bytes())
    resampled = resample(torch.from_numpy(0.3 * create_recording(1)), RATE, 8000).numpy()
    soundfile.write(folder / "other.flac", resampled, 8000)
    (folder / "text.wav").write_text("no sound")
    return [
        folder / name
        for name in ("0.wav", "1.wav", "2.wav", "copy.wav", "other.flac", "3.wav", "text.wav")
    ]


def test_equal_sounds_form_a_group(tmp_path: Path) -> None:
    groups = find_same_sounds(write_files(tmp_path))
    assert {(group.files, group.is_exact) for group in groups} == {((0, 3), True), ((1, 4), False)}


def test_sounds_in_two_splits_are_counted_and_named(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    splits = dict.fromkeys((file.name for file in files), "train") | {"other.flac": "test"}
    rows = [f"{file.name},a,{splits[file.name]}" for file in files]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,split", *rows]))
    lines = list(describe_same_sounds(tmp_path / "m.csv"))
    assert lines[0].startswith("4 of 7 files are duplicates, in 2 groups: 1 of identical bytes")
    assert lines[1].startswith("1 of these groups are in more than one split")
    assert lines[2:] == [
        "  1.wav (train) = other.flac (test)",
        "  0.wav (train) = copy.wav (train)",
    ]


def test_different_durations_are_never_compared_as_equal(tmp_path: Path) -> None:
    sound = create_recording(0)
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    soundfile.write(tmp_path / "half.wav", sound[: len(sound) // 2], RATE)
    assert find_same_sounds([tmp_path / "long.wav", tmp_path / "half.wav"]) == []


def test_looking_for_duplicates_needs_no_torch() -> None:
    code = "import sys, ablate.audio.near_duplicates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
