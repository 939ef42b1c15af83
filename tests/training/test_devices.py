"""Training, resuming and scoring on any device agree with the CPU.

Every test runs on the CPU as well, so that its body is tried on machines without a GPU.
"""

import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist

import maskers
from ablate.audio.loader import Normaliser, stack_crops
from ablate.model.objectives import InfoNCE
from ablate.model.patchify import Rectangles
from ablate.model.precision import Precision
from ablate.model.predictor import PerTarget
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.probing.features import FeatureExtractor, extract_features
from ablate.probing.views import View
from ablate.training.distributed import Ranks
from ablate.training.optimizer import Budget, Optimizer
from ablate.training.signals import PausedError

DEVICES = ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)]
WIDE = ViT(dim=32, layers=2, heads=2)  # heads of 16 dimensions, which flash attention takes
CASES = {
    "packed blocks": {},
    "padded blocks": {"batching": "pad"},
    "per target": {"predictor": PerTarget(dim=32, layers=1, heads=2)},
    "InfoNCE": {"objective": InfoNCE(), "masker": maskers.Random(ratio=0.5)},
    "content": {"masker": maskers.Informed()},
}


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def build(new_trainer, device, precision: Precision = "fp32", **changes):
    """Builds a trainer of 12 steps on a device."""
    trainer = new_trainer(
        encoder=WIDE,
        device=device,
        optimizer=Optimizer(precision=precision),
        prefetch=device.type == "cuda",
        **changes,
    )
    trainer.jepa.to(device)
    return trainer


@pytest.mark.parametrize("case", CASES)
def test_a_device_trains_to_the_loss_of_the_cpu(new_trainer, device, case):
    expected = build(new_trainer, torch.device("cpu"), **CASES[case]).train().last
    result = build(new_trainer, device, **CASES[case]).train().last
    assert result.loss == pytest.approx(expected.loss, rel=1e-3)
    assert result.context_fraction == expected.context_fraction


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precision_trains_to_almost_the_same_loss(new_trainer, device, precision):
    expected = build(new_trainer, device).train().last.loss
    assert build(new_trainer, device, precision).train().last.loss == pytest.approx(
        expected, rel=0.05
    )


def test_a_resumed_training_ends_at_the_loss_of_one_that_was_not_interrupted(new_trainer, device):
    expected = build(new_trainer, device).train().last.loss
    trainer = build(new_trainer, device, pause_step=5)
    with pytest.raises(PausedError):
        trainer.train()
    saved, _ = trainer.checkpoints.load()
    result = build(new_trainer, device).train(saved)
    assert result.last.loss == pytest.approx(expected, rel=0 if device.type == "cpu" else 1e-3)


@pytest.mark.gpu
def test_micro_batches_replace_a_batch_that_is_too_large_for_the_gpu(new_trainer):
    device = torch.device("cuda:0")
    large = replace(WIDE, dim=256, layers=8)
    trainer = new_trainer(encoder=large, device=device, budget=Budget(steps=2, batch=4096))
    trainer.jepa.to(device)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(2**30 / total)
    try:
        result = trainer.train()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory at step 1" in result.warnings[0]
    assert np.isfinite(result.last.loss)


class Frames:
    """Frames of three clips, one of them of several windows."""

    lengths = (32, 100, 7)

    def read_frames(self, index, start, stop):
        rng = np.random.default_rng(index)
        frames = rng.normal(size=(self.lengths[index], 8)).astype(np.float16)
        return frames[start:stop]


def extract(device: torch.device, precision: Precision, views: list[View]):
    patchifier = Rectangles(freq=4, time=4)
    grid = patchifier.grid(8, 32)
    encoder = WIDE.build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    extractor = FeatureExtractor(
        encoder=encoder.to(device).eval(),
        patchifier=patchifier,
        grid=grid,
        crop_frames=32,
        normaliser=Normaliser(np.zeros(8, np.float32), np.ones(8, np.float32)),
        device=device,
        precision=precision,
    )
    batches = list(extract_features(extractor, Frames(), range(3), views, windows_at_once=2))
    return {view: np.concatenate([batch[view].rows for batch in batches]) for view in views}


@pytest.mark.parametrize(("precision", "atol"), [("fp32", 1e-4), ("tf32", 1e-2), ("bf16", 0.1)])
def test_features_of_a_device_are_those_of_the_cpu(device, precision, atol):
    views = [View(pooling) for pooling in ("mean", "mean_std", "concat_freq", "max", "attentive")]
    expected = extract(torch.device("cpu"), "fp32", views)
    for view, rows in extract(device, precision, views).items():
        assert np.allclose(rows, expected[view], atol=atol), view.name


def test_a_batch_is_normalised_on_a_device_as_on_the_cpu(device):
    normaliser = Normaliser(np.full(8, 0.5, np.float32), np.full(8, 3, np.float32))
    batch = stack_crops([Frames().read_frames(i, 0, 32) for i in range(3)], 32, normaliser)
    batch = batch.pin_memory() if device.type == "cuda" else batch
    assert torch.allclose(batch.mels_on(device).cpu(), batch.mels, rtol=1e-6)


@pytest.mark.gpu
def test_nccl_exchanges_the_gradients_of_a_group_of_one():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
    dist.init_process_group("nccl", init_method=address, rank=0, world_size=1)
    try:
        gradients = [torch.ones(3, device="cuda:0"), torch.full((2, 2), 5.0, device="cuda:0")]
        Ranks(0, count=2).all_reduce(gradients)  # two ranks, so that something is exchanged
        assert [g.sum().item() for g in gradients] == [3, 20]
    finally:
        dist.destroy_process_group()
