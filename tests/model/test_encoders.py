"""Properties of every encoder, whatever its settings."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ablate.core.random import StepRandom, generator
from ablate.model.conformer import Conformer
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.masking import Grid
from ablate.model.packing import Packing, pack, pad, real_rows
from ablate.model.positions import (
    Learned,
    NoPositions,
    Rotary1D,
    Rotary2D,
    SeparableLearned,
    SineCosine1D,
)
from ablate.model.stems import Convolutional2D, Speech1D, WaveformStem
from ablate.model.transformer import checkpoint_activations, initialise
from ablate.model.vit import ViT

SQUARES, STRIPS, PIXELS, CLIPS = Grid(3, 5), Grid(1, 15), 8, 4
SMALL = ViT(dim=16, layers=2, heads=2)
CONFORMER = Conformer(dim=16, layers=2, heads=2, mlp_dim=24, kernel=5)
ENCODERS: dict[str, tuple[AbstractEncoder, Grid]] = {
    "plain": (SMALL, SQUARES),
    "post": (replace(SMALL, norm="post"), SQUARES),
    "summary": (replace(SMALL, summary=True), SQUARES),
    "registers": (replace(SMALL, registers=3), SQUARES),
    "both, rotary": (replace(SMALL, summary=True, registers=2, positions=Rotary2D()), SQUARES),
    "drop path": (replace(SMALL, drop_path=0.5), SQUARES),
    "drop path, summary": (replace(SMALL, drop_path=0.5, summary=True, norm="post"), SQUARES),
    "replaced": (replace(SMALL, hidden="replace"), SQUARES),
    "no positions": (replace(SMALL, positions=NoPositions()), SQUARES),
    "learned": (replace(SMALL, positions=Learned()), SQUARES),
    "separable": (replace(SMALL, positions=SeparableLearned()), SQUARES),
    "rotary": (replace(SMALL, positions=Rotary2D()), SQUARES),
    "rotary in time": (replace(SMALL, positions=Rotary1D()), STRIPS),
    "sines of time": (replace(SMALL, positions=SineCosine1D()), STRIPS),
    "2-D stem": (replace(SMALL, stem=Convolutional2D(freq=4, time=2)), SQUARES),
    "1-D stem": (replace(SMALL, stem=Speech1D(freq=4, time=2)), SQUARES),
    "conformer": (CONFORMER, SQUARES),
    "conformer, dropping": (replace(CONFORMER, hidden="drop"), SQUARES),
    "conformer, drop path": (replace(CONFORMER, drop_path=0.5, kernel=31), STRIPS),
    "waveform": (replace(SMALL, stem=WaveformStem(layers=((4, 2), (3, 2)), channels=6)), STRIPS),
}
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def build(name: str, seed: int = 0) -> Encoder:
    settings, grid = ENCODERS[name]
    encoder = settings.build(grid, PIXELS)
    initialise(encoder, seed, "encoder")
    for inner, parameter in encoder.named_parameters():  # as if trained
        if parameter.dim() == 1:
            noise = torch.randn(parameter.shape, generator=generator(seed, "later", inner))
            parameter.data += 0.1 * noise
    return encoder


def batch(copies: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Returns patches, and for each sample its patches and which of them are hidden."""
    patches = torch.randn(CLIPS, 15, PIXELS, generator=generator(0, "patches"))
    rng = generator(0, "members")
    member = torch.rand(CLIPS * copies, 15, generator=rng) < 0.6
    member[:, 4] = True
    hidden = member & (torch.rand(member.shape, generator=rng) < 0.5)
    return patches, member, hidden


def encode(
    encoder: Encoder, patches: Tensor, packing: Packing, hidden: Tensor, first: int = 0
) -> list[Tensor]:
    """Returns all outputs for the batch of a step, or for a slice of it."""
    rng = StepRandom(seed=0, step=7, first=first)
    marked = hidden.flatten()[packing.index] if encoder.hidden == "replace" else None
    encoded = encoder(patches, packing, hidden=marked, rng=rng)
    summary = [] if encoded.summary is None else [encoded.summary]
    return [encoded.tokens, *encoded.layers, *summary]


def gradients(encoder: Encoder, outputs: list[Tensor]) -> dict[str, Tensor | None]:
    weights = torch.arange(1, len(outputs) + 1)
    loss = sum(w * part.pow(3).sum() for w, part in zip(weights, outputs, strict=True))
    encoder.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in encoder.named_parameters()}


@every_encoder
@pytest.mark.parametrize("copies", [1, 2])
def test_a_packed_batch_equals_the_loop_over_clips(name, copies):
    encoder, (patches, member, hidden) = build(name), batch(copies)
    together = encode(encoder, patches, pack(member, copies=copies), hidden)
    apart = []
    for clip in range(CLIPS):
        rows = slice(clip * copies, (clip + 1) * copies)
        packing = pack(member[rows], copies=copies)
        apart.append(encode(encoder, patches[clip : clip + 1], packing, hidden[rows], clip))
    looped = [torch.cat(parts) for parts in zip(*apart, strict=True)]
    for actual, reference in zip(together, looped, strict=True):
        assert torch.allclose(actual, reference, atol=1e-5)
    actual, reference = gradients(encoder, together), gradients(encoder, looped)
    for inner, gradient in actual.items():
        scale = gradient.abs().max()
        assert torch.allclose(gradient, reference[inner], atol=1e-4 * float(scale)), inner


@every_encoder
def test_the_residual_stream_is_float32_under_autocast(name):
    encoder, (patches, member, hidden) = build(name), batch()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = encode(encoder, patches, pack(member), hidden)
    assert {output.dtype for output in outputs} == {torch.float32}


@every_encoder
def test_padding_changes_nothing(name):
    encoder, (patches, member, hidden) = build(name), batch()
    packed = encode(encoder, patches, pack(member), hidden)
    padding = pad(member)
    padded = encode(encoder, patches, padding, hidden)
    rows = real_rows(padding)
    for actual, reference in zip(packed, padded, strict=True):
        real = reference if len(reference) == CLIPS else reference[rows]
        assert torch.allclose(actual, real, atol=1e-5)


@every_encoder
def test_every_weight_receives_a_gradient(name):
    encoder, (patches, member, hidden) = build(name), batch()
    result = gradients(encoder, encode(encoder, patches, pack(member), hidden))
    assert [inner for inner, grad in result.items() if grad is None or not grad.any()] == []


@every_encoder
def test_checkpointed_activations_give_the_same_gradients(name):
    encoder, (patches, member, hidden) = build(name), batch()
    stored = gradients(encoder, encode(encoder, patches, pack(member), hidden))
    stored = {inner: grad.clone() for inner, grad in stored.items()}
    checkpoint_activations(encoder)
    again = gradients(encoder, encode(encoder, patches, pack(member), hidden))
    assert all(torch.equal(grad, again[inner]) for inner, grad in stored.items())


@every_encoder
def test_flops_agree_with_the_counter_of_torch(name):
    encoder, (patches, member, hidden) = build(name), batch()
    packing = pack(member[:1])
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encode(encoder, patches[:1], packing, hidden[:1])
    assert encoder.flops(packing) == pytest.approx(counter.get_total_flops(), rel=0.02)


@every_encoder
def test_without_rng_the_encoder_is_deterministic(name):
    encoder, (patches, member, _) = build(name), batch()
    first, second = (encoder(patches, pack(member)).tokens for _ in range(2))
    assert torch.equal(first, second)


def size(settings: AbstractEncoder, grid: Grid, pixels: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in settings.build(grid, pixels).parameters())


@pytest.mark.parametrize(
    ("dim", "layers", "heads", "millions"),
    [(192, 12, 3, 5.4), (384, 12, 6, 21.4), (768, 12, 12, 86), (1024, 24, 16, 302.6)],
)
def test_a_vit_has_the_published_size(dim, layers, heads, millions):
    result = size(ViT(dim=dim, layers=layers, heads=heads), Grid(8, 64), 256)
    assert result == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("dim", "heads", "millions"), [(256, 8, 18.4), (768, 12, 88.1)], ids=["small", "large"]
)
def test_a_conformer_has_the_published_size(dim, heads, millions):
    result = size(Conformer(dim=dim, heads=heads), Grid(1, 250), 256)
    assert result == pytest.approx(millions * 1e6, rel=0.05)
