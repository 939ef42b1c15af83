"""Sounds of every common form give the features of the same waveform; others are refused."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ablate
from ablate.export.waveforms import to_batch, to_waveform

SOUND = np.sin(np.arange(4000) / 7).astype(np.float32) / 2


@pytest.fixture(scope="module")
def encoder(exported):
    return ablate.load_encoder(exported.folder)


@pytest.mark.parametrize(
    "sound",
    [
        SOUND,
        SOUND.astype(np.float64),
        SOUND.astype(">f4"),
        SOUND[None],
        SOUND[::-1].copy()[::-1],
        SOUND[::-1].astype(np.float64).copy()[::-1],
        np.stack([SOUND + 0.125, SOUND - 0.125]),
        np.stack([SOUND, SOUND], axis=1).T,  # not contiguous
        torch.from_numpy(SOUND),
        torch.from_numpy(SOUND)[None].requires_grad_(),
        SOUND.tolist(),
        tuple(SOUND.tolist()),
    ],
)
def test_every_form_of_a_sound_has_the_same_features(encoder, sound):
    expected = encoder.features(torch.from_numpy(SOUND))
    assert expected.shape == (encoder.dim,)
    assert torch.allclose(encoder.features(sound), expected, atol=1e-4)


@given(
    kind=st.sampled_from([np.int8, np.int16, np.int32, np.uint8]),
    data=st.data(),
)
def test_integers_are_scaled_by_their_type(kind, data):
    samples = data.draw(arrays.arrays(kind, st.integers(1, 20)))
    limits = np.iinfo(kind)
    middle = (int(limits.min) + int(limits.max) + 1) / 2
    expected = [(int(value) - middle) / (int(limits.max) - middle + 1) for value in samples]
    assert np.allclose(to_waveform(samples).numpy(), expected, atol=1e-7)
    assert np.allclose(to_batch(samples[None]).numpy(), [expected], atol=1e-7)


def test_int16_samples_of_a_file_have_the_features_of_the_file(encoder, tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, 16000, subtype="PCM_16")
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    from_file = encoder.features(tmp_path / "a.wav")
    assert torch.equal(encoder.features(samples, sample_rate=rate), from_file)
    assert torch.equal(encoder.features(torch.from_numpy(samples)[None]), from_file)


def test_a_list_of_sounds_has_one_row_for_each(encoder, tmp_path):
    soundfile.write(tmp_path / "a.wav", SOUND, 16000, subtype="FLOAT")
    several = encoder.features([SOUND[:1000], SOUND.tolist()])
    assert several.shape == (2, encoder.dim)
    assert torch.equal(several[1], encoder.features(SOUND))
    files = encoder.features([tmp_path / "a.wav", str(tmp_path / "a.wav")])
    assert torch.equal(files, torch.stack([encoder.features(SOUND)] * 2))


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.array([0.1, np.nan]), "1 of 2 samples are NaN or infinite"),
        (torch.tensor([[0.1, torch.inf, -torch.inf]]), "2 of 3 samples are NaN or infinite"),
        ([0.0, float("nan")], "1 of 2 samples are NaN or infinite"),
        (np.zeros(0), "at least one sample"),
        ([], "at least one sample"),
        (np.zeros((2, 0)), r"got \(2, 0\)"),
        (np.zeros((1, 1, 1)), r"got \(1, 1, 1\)"),
        (np.zeros((16000, 2)), r"transpose \(samples, channels\)"),
        (np.zeros((64, 16000)), "pass a batch of sounds to `clip_features`"),
        (np.zeros((2, 1, 16000)), r"got \(2, 1, 16000\)"),
        (np.arange(5), "int64, which has no full scale"),
        (np.zeros(5, dtype=bool), "bool, which has no full scale"),
        (np.zeros(5, dtype=complex), "complex128, which has no full scale"),
        (np.array([1000.0, -32768.0]), "samples reach 32768, but floats must lie in"),
        ([[0.0, 0.1], ["a"]], "has no full scale"),
    ],
)
def test_a_value_that_is_no_waveform_is_an_error(encoder, sound, message):
    with pytest.raises(ValueError, match=message):
        encoder.features(sound)


@pytest.mark.parametrize("shape", [(16000,), (1, 1, 16000), (1, 0), (0, 100)])
def test_a_batch_must_have_two_dimensions_and_samples(encoder, shape):
    for compute in (encoder.clip_features, encoder.features_over_time):
        with pytest.raises(ValueError, match=r"waveforms must be|at least one sample"):
            compute(torch.zeros(shape))


def test_a_batch_with_samples_that_are_not_finite_is_an_error(encoder):
    waveforms = torch.zeros(2, 100)
    waveforms[1, 7] = torch.nan
    for compute in (encoder.clip_features, encoder.features_over_time):
        with pytest.raises(ValueError, match="1 of 200 samples are NaN"):
            compute(waveforms)


@pytest.mark.parametrize("rate", [0, -1, 44100.5, float("nan"), "16000", True])
def test_a_sample_rate_must_be_an_integer(encoder, rate):
    with pytest.raises(ValueError, match="`sample_rate` must be a whole number of Hz above 0"):
        encoder.features(SOUND, sample_rate=rate)
