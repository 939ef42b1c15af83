"""Exported encoders pass the checks of X-ARES, and have unique class names."""

import importlib.util
import resource
import sys

import pytest
import torch


def load_adapter(folder):
    """Imports the folder's file and finds the encoder as X-ARES does."""
    spec = importlib.util.spec_from_file_location(f"of_{folder.name}", folder / "xares_encoder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    [name] = [name for name in dir(module) if name.endswith("Encoder")]
    return getattr(module, name)


def test_an_encoder_passes_the_checks_of_xares(exported):
    encoder = load_adapter(exported.folder)()
    assert type(encoder).__name__.endswith("Encoder")
    assert isinstance(encoder, torch.nn.Module)
    assert encoder.sampling_rate == 16000
    actual = encoder(torch.randn(2, 50_000))
    assert isinstance(actual, torch.Tensor)
    assert actual.shape[::2] == (2, encoder.output_dim)
    assert actual.isfinite().all()


def test_the_checker_of_xares_itself_agrees_where_it_is_installed(exported):
    checker = pytest.importorskip("xares.audio_encoder_checker")
    assert checker.check_audio_encoder(load_adapter(exported.folder)())


@pytest.mark.parametrize("samples", [1, 160, 16_000, 50_000, 160_001])
def test_every_started_hop_has_features(exported, samples):
    encoder = load_adapter(exported.folder)()
    assert encoder.hop_size_in_ms == pytest.approx(80)
    actual = encoder(torch.randn(1, samples))
    assert actual.shape[1] == -(-samples // 1280)


def test_ten_minutes_are_read_in_bounded_memory(exported):
    encoder = load_adapter(exported.folder)()
    sizes = []
    encoder.encoder.encoder.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]))
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    actual = encoder(torch.zeros(1, 600 * 16000))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    assert actual.shape[:2] == (1, 7500)
    assert max(sizes) <= 64
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit < 1500  # MB


def test_a_batch_is_encoded_as_its_rows_are(exported):
    encoder = load_adapter(exported.folder)()
    audio = torch.randn(3, 20_000, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([encoder(row.unsqueeze(0)) for row in audio])
    assert torch.allclose(encoder(audio), alone, atol=1e-5)


def test_two_runs_have_classes_of_different_names(exported, other):
    names = {load_adapter(folder).__name__ for folder in (exported.folder, other)}
    assert len(names) == 2
