"""Exported encoders pass the checks of HEAR's validator, and their timestamps are true.

The checks are those of https://github.com/hearbenchmark/hear-validator, commit 8c2cb84
(`hearvalidator/validate.py`), with the lengths that it tries.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.mel import LogMel
from ablate.audio.preparation import Prepared
from ablate.audio.waveform import Waveform
from ablate.export import hear
from ablate.export.encoder import load_encoder
from ablate.model.patchify import Overlapping, Rectangles, Windows
from tests.export.untrained import RECIPES, export_recipe, export_untrained


def make_noise(sounds, samples):
    return 2 * torch.rand(sounds, samples, generator=torch.Generator().manual_seed(0)) - 1


def check_timestamps(model, samples):
    """Asserts what HEAR's validator requires of embeddings in time, and what it warns of."""
    embeddings, times = hear.get_timestamp_embeddings(make_noise(2, samples), model)
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (2, times.shape[1], model.timestamp_embedding_size)
    assert times.shape[0] == 2
    length = 1000 * samples / model.sample_rate
    assert times.min() >= 0
    assert times.max() <= length
    if times.shape[1] > 1:
        steps = times.diff()
        step = steps.mean()
        assert (steps - step).abs().max() < 1e-2  # ms; the validator allows 1
        assert times.min() <= step
        # a later embedding would have its centre past the end; patches may be long
        assert times.max() >= length - step - 1000 * model.encoder.patch_seconds / 2


@pytest.fixture(scope="module")
def recipe_models(tmp_path_factory):
    root = tmp_path_factory.mktemp("hear")
    return {name: hear.load_model(str(export_recipe(name, root / name))) for name in RECIPES}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_passes_the_checks_of_the_validator(name, recipe_models):
    model = recipe_models[name]
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)
    for seconds in (1.07, 1.98, 4.0):
        check_timestamps(model, int(seconds * model.sample_rate))
    scenes = hear.get_scene_embeddings(make_noise(4, int(2.74 * model.sample_rate)), model)
    assert scenes.dtype == torch.float32
    assert scenes.shape == (4, model.scene_embedding_size)


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory):
    """An encoder whose patches overlap, and whose windows leave a rest of frames."""
    return hear.load_model(
        str(
            export_untrained(
                tmp_path_factory.mktemp("overlapping") / "out",
                patchifier=Overlapping(freq=16, time=8, time_stride=5, freq_stride=16, rest="drop"),
                crop_frames=51,
            )
        )
    )


@given(samples=st.integers(1, 40_000))
def test_timestamps_are_regular_and_within_the_sound_at_any_length(overlapping, samples):
    check_timestamps(overlapping, samples)


@pytest.mark.parametrize(
    ("patchifier", "mel", "crop_frames"),
    [
        (Rectangles(freq=32, time=8), LogMel(bands=32), 24),
        (Overlapping(freq=32, time=8, time_stride=5, rest="drop"), LogMel(bands=32), 51),
        (Windows(time=400, time_stride=320), Waveform(level="as_is"), 2000),
    ],
)
def test_an_embedding_is_of_the_patch_around_its_timestamp(tmp_path, patchifier, mel, crop_frames):
    frozen = load_encoder(
        export_untrained(tmp_path / "out", mel=mel, patchifier=patchifier, crop_frames=crop_frames)
    )
    encoded = []
    frozen.encoder.register_forward_pre_hook(
        lambda _, inputs: encoded.append(inputs[1].gather(inputs[0]))
    )
    sound = make_noise(1, 20_000)
    frozen.features_over_time(sound)
    frames = mel(sound[0], 16000).half().float()
    size, step = patchifier.size[1], patchifier.stride[1]
    padded = torch.nn.functional.pad(frames.T, (0, size))
    for column, patch in enumerate(torch.cat(encoded)):
        start = column * step  # the centre in frames, without half a patch
        assert frozen.step_seconds * column == pytest.approx(start * mel.hop_seconds)
        expected = padded[:, start : start + size].reshape(-1)
        assert torch.equal(patch, expected)
    assert len(torch.cat(encoded)) == math.ceil(len(frames) / step)


def test_a_sound_shorter_than_half_a_patch_has_one_embedding_in_its_middle(overlapping):
    embeddings, times = hear.get_timestamp_embeddings(make_noise(1, 320), overlapping)
    assert embeddings.shape[:2] == (1, 1)
    assert times.tolist() == [[10.0]]


@pytest.mark.parametrize(("rate", "allowed"), [(8000, 16000), (24000, 32000), (96000, 48000)])
def test_the_sample_rate_is_one_that_the_benchmark_allows(tmp_path, rate, allowed):
    mel = LogMel(bands=32, sample_rate=rate, f_max=min(8000, rate / 2))
    folder = export_untrained(
        tmp_path / "out", mel=mel, patchifier=Rectangles(freq=16, time=8), crop_frames=48
    )
    model = hear.load_model(str(folder))
    assert model.sample_rate == allowed
    check_timestamps(model, int(1.07 * allowed))


def test_timestamps_are_an_error_if_the_front_end_removes_silence(tmp_path):
    mel = Prepared(front_end=LogMel(bands=32), silence_db=30)
    folder = export_untrained(
        tmp_path / "out", mel=mel, patchifier=Rectangles(freq=16, time=8), crop_frames=48
    )
    model = hear.load_model(str(folder))
    assert hear.get_scene_embeddings(make_noise(2, 16000), model).shape == (2, 32)
    with pytest.raises(ValueError, match="no times; use `clip_features`"):
        hear.get_timestamp_embeddings(make_noise(2, 16000), model)


def test_scene_embeddings_are_the_mean_of_those_of_complete_patches(exported):
    model = hear.load_model(str(exported.folder))
    audio = make_noise(2, 32_000)
    moments, times = hear.get_timestamp_embeddings(audio, model)
    assert times[1, :3].tolist() == [40, 120, 200]  # ms
    scenes = hear.get_scene_embeddings(audio, model)
    assert torch.allclose(moments.mean(dim=1), scenes, atol=1e-5)
