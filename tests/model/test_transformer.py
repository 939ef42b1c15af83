"""Transformer layers, compared with those of PyTorch, which do not support packing."""

import math

import pytest
import torch
from torch import Tensor, nn

from ablate.core.random import generator
from ablate.model.masking import Grid
from ablate.model.packing import pack
from ablate.model.positions import Rotary1D, Rotation
from ablate.model.segments import Segments
from ablate.model.transformer import AttentionContext, Layer, Norm, Transformer, initialise
from ablate.model.vit import ViT

NORMS: tuple[Norm, ...] = ("pre", "post")


def randomise(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator(0, name))


def to_pytorch_layer(layer: Layer, norm: Norm) -> nn.TransformerEncoderLayer:
    dim, hidden = layer.project.in_features, layer.expand.out_features
    reference = nn.TransformerEncoderLayer(
        dim, layer.heads, hidden, 0.0, "gelu", batch_first=True, norm_first=norm == "pre"
    )
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (reference.self_attn.out_proj, layer.project),
        (reference.linear1, layer.expand),
        (reference.linear2, layer.contract),
        (reference.norm1, layer.norm_attention),
        (reference.norm2, layer.norm_mlp),
    ]
    for module, source in pairs:
        module.load_state_dict(source.state_dict())
    reference.self_attn.in_proj_weight.data = layer.query_key_value.weight.data
    reference.self_attn.in_proj_bias.data = layer.query_key_value.bias.data
    return reference


@pytest.mark.parametrize("norm", NORMS)
def test_a_layer_equals_that_of_pytorch_with_the_same_norm_placement(norm):
    layer = Layer(16, 4, 24, norm)
    randomise(layer)
    tokens = torch.randn(9, 16, generator=generator(0, "tokens"))
    expected = to_pytorch_layer(layer, norm)(tokens.view(3, 3, 16)).view(9, 16)
    assert torch.allclose(layer(tokens, AttentionContext(Segments((3, 3, 3)))), expected, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_the_remaining_norm_is_last_for_pre_norm_and_first_for_post_norm(norm):
    transformer = Transformer(16, 2, 4, 1.5, norm)
    randomise(transformer)
    tokens = torch.randn(1, 5, 16, generator=generator(0, "tokens"))
    expected = tokens if norm == "pre" else transformer.norm(tokens)
    for layer in transformer.layers:
        expected = to_pytorch_layer(layer, norm)(expected)
    expected = transformer.norm(expected) if norm == "pre" else expected
    assert torch.allclose(transformer(tokens[0], Segments((5,))), expected[0], atol=1e-5)


def test_summary_and_register_tokens_come_before_the_patches():
    encoder = ViT(dim=16, layers=2, heads=4, summary=True, registers=2).build(Grid(1, 5), 3)
    randomise(encoder)
    patches = torch.randn(1, 5, 3, generator=generator(0, "patches"))
    own: list[Tensor] = [encoder.summary_embedding, encoder.register_embedding]
    table = encoder.positions.added.table
    row = torch.cat([*own, encoder.project(patches[0]) + table]).unsqueeze(0)
    for layer in encoder.transformer.layers:
        row = to_pytorch_layer(layer, "pre")(row)
    row = encoder.transformer.norm(row)[0]
    encoded = encoder(patches, pack(torch.ones(1, 5, dtype=torch.bool)))
    assert torch.allclose(encoded.tokens, row[3:], atol=1e-5)
    assert torch.allclose(encoded.summary, row[:1], atol=1e-5)


def test_register_tokens_are_not_rotated():
    settings = ViT(dim=16, layers=2, heads=4, registers=2, positions=Rotary1D())
    encoder = settings.build(Grid(1, 5), 3)
    randomise(encoder)
    patches = torch.randn(1, 5, 3, generator=generator(0, "patches"))
    patch_rotation = encoder.positions.rotation(torch.arange(5))
    zeros = torch.zeros(2, 1, 2)
    rotation = Rotation(
        torch.cat([zeros + 1, patch_rotation.cosine]), torch.cat([zeros, patch_rotation.sine])
    )
    row = torch.cat([encoder.register_embedding, encoder.project(patches[0])])
    _, expected = encoder.transformer.outputs(row, AttentionContext(Segments((7,)), rotation))
    encoded = encoder(patches, pack(torch.ones(1, 5, dtype=torch.bool)))
    assert torch.allclose(encoded.tokens, expected[2:], atol=1e-5)


def test_an_initialised_convolution_keeps_the_variance_of_its_input():
    convolutions = nn.ModuleList(
        [nn.Conv1d(64, 64, 9, bias=False), nn.Conv1d(64, 64, 31, groups=64, bias=False)]
    )
    initialise(convolutions, 0, "encoder")
    signal = torch.randn(8, 64, 200, generator=generator(0, "signal"))
    for convolution in convolutions:
        assert math.isclose(convolution(signal).var().item(), 1.0, rel_tol=0.1)


def test_the_weight_of_an_unnamed_norm_is_one() -> None:
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
    initialise(model, 0, "lab")
    assert model[0].weight.tolist() == [1.0] * 4
    assert not model[0].bias.any()
    assert not model[1].bias.any()
