"""The conformer encoder."""

import pytest
import torch
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.conformer import Conformer, ConformerLayer, FrequencyRows, TimeConvolution
from ablate.model.masking import Grid
from ablate.model.packing import pack
from ablate.model.positions import NoPositions
from ablate.model.segments import Segments
from ablate.model.transformer import AttentionContext, initialise

SETTINGS = Conformer(dim=16, layers=2, heads=2, mlp_dim=24, kernel=5)
GRID, PIXELS = Grid(2, 7), 6


def random_tensor(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(0, *shape))


def test_a_short_clip_in_a_batch_equals_the_clip_alone_on_a_shorter_grid():
    encoder = SETTINGS.build(GRID, PIXELS)
    initialise(encoder, 0, "encoder")
    patches, columns = random_tensor(4, GRID.size, PIXELS), [7, 3, 1, 5]
    real = torch.stack([torch.arange(GRID.time) < column for column in columns])
    valid = real.unsqueeze(1).expand(-1, GRID.freq, -1).flatten(1)
    together = encoder(patches, pack(valid)).tokens.split((valid.sum(dim=1)).tolist())
    for clip, column in enumerate(columns):
        grid = Grid(GRID.freq, column)
        alone = SETTINGS.build(grid, PIXELS)
        alone.load_state_dict(encoder.state_dict())
        cut = patches[clip].view(GRID.freq, GRID.time, -1)[:, :column].reshape(1, grid.size, -1)
        packing = pack(torch.ones(1, grid.size, dtype=torch.bool))
        assert torch.allclose(alone(cut, packing).tokens, together[clip], atol=1e-5)


def test_the_convolution_equals_a_loop_over_rows_and_neighbours():
    convolution = TimeConvolution(16, 5)
    initialise(convolution, 0, "convolution")
    member = torch.rand(3, GRID.size, generator=generator(0, "member")) < 0.6
    packing = pack(member)
    tokens = random_tensor(len(packing.index), 16)
    gated = F.glu(convolution.expand(convolution.norm(tokens)))
    row_of_cell = {int(cell): row for row, cell in enumerate(packing.index)}
    expected = []
    for cell in row_of_cell:
        column = cell % GRID.time
        convolved = convolution.depthwise.bias.clone()
        for tap in range(-2, 3):
            if 0 <= column + tap < GRID.time and cell + tap in row_of_cell:
                convolved += (
                    convolution.depthwise.weight[:, 0, tap + 2] * gated[row_of_cell[cell + tap]]
                )
        expected.append(convolved)
    after = convolution.contract(F.silu(convolution.norm_after(torch.stack(expected))))
    assert torch.allclose(convolution(tokens, FrequencyRows(GRID, packing)), after, atol=1e-5)


def test_a_layer_applies_its_modules_in_the_order_of_the_paper():
    layer = ConformerLayer(SETTINGS)
    initialise(layer, 0, "layer")
    packing = pack(torch.ones(1, GRID.size, dtype=torch.bool))
    rows, tokens = FrequencyRows(GRID, packing), random_tensor(GRID.size, 16)

    def half(part: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        wide = F.linear(F.layer_norm(tokens, (16,)), part.expand.weight)
        return 0.5 * F.linear(wide * wide.sigmoid(), part.contract.weight)

    x = tokens + half(layer.first, tokens)
    query, key, value = layer.query_key_value(layer.norm_attention(x)).view(-1, 3, 2, 8).unbind(1)
    shares = (torch.einsum("qhd,khd->hqk", query, key) / 8**0.5).softmax(dim=-1)
    x = x + layer.project(torch.einsum("hqk,khd->qhd", shares, value).reshape(-1, 16))
    x = x + layer.convolution(x, rows)
    x = F.layer_norm(x + half(layer.second, x), (16,))
    assert torch.allclose(
        layer(tokens, AttentionContext(Segments((GRID.size,))), rows), x, atol=1e-5
    )


def test_convolution_alone_makes_the_order_of_patches_matter():
    """Attention without positions treats a reversed clip as the same set of tokens."""
    encoder = Conformer(
        dim=16, layers=1, heads=2, mlp_dim=24, kernel=3, positions=NoPositions()
    ).build(Grid(1, 6), PIXELS)
    initialise(encoder, 0, "encoder")
    patches, packing = random_tensor(1, 6, PIXELS), pack(torch.ones(1, 6, dtype=torch.bool))
    forward = encoder(patches, packing).tokens
    backward = encoder(patches.flip(1), packing).tokens.flip(0)
    assert not torch.allclose(forward, backward, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": 4}, "`kernel` must be odd"),
        ({"mlp_dim": 0}, "`mlp_dim` must be at least 1"),
    ],
)
def test_impossible_settings_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        Conformer(**settings)
