"""The vision transformer on packed patches."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import pack
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.parts import get_identity

GRID, PIXELS = Grid(2, 5), 6
VALID = torch.tensor([[True] * 10, [True] * 3 + [False] * 2 + [True] * 3 + [False] * 2])


def build(**settings: object) -> Encoder:
    encoder = ViT(dim=16, layers=2, heads=2, **settings).build(GRID, PIXELS)
    initialise(encoder, 0, "encoder")
    return encoder


def draw_patches() -> torch.Tensor:
    return torch.randn(2, GRID.size, PIXELS, generator=generator(0, "patches"))


def test_the_tokens_are_the_last_layer_after_the_norm():
    encoder = build()
    encoded = encoder(draw_patches(), pack(VALID))
    assert len(encoded.layers) == 2
    assert encoded.summary is None
    assert torch.equal(encoder.transformer.norm(encoded.layers[-1]), encoded.tokens)


def test_the_content_of_a_replaced_patch_has_no_effect_but_its_position_has():
    encoder, packing = build(hidden="replace"), pack(VALID)
    hidden = torch.arange(len(packing.index)) % 3 == 0
    patches = draw_patches()
    before = encoder(patches, packing, hidden=hidden).tokens
    patches.flatten(0, 1)[packing.index[hidden]] = 1e6
    assert torch.equal(encoder(patches, packing, hidden=hidden).tokens, before)
    encoder.positions.added.table += 1
    assert not torch.allclose(encoder(patches, packing, hidden=hidden).tokens, before)


@pytest.mark.parametrize("hidden", [None, torch.zeros(16, dtype=torch.bool)])
def test_replacing_equals_dropping_if_nothing_is_hidden(hidden):
    dropping, replacing = build()(draw_patches(), pack(VALID)), build(hidden="replace")
    assert torch.equal(
        replacing(draw_patches(), pack(VALID), hidden=hidden).tokens, dropping.tokens
    )


def test_later_settings_leave_the_identity_of_earlier_ones_unchanged():
    assert get_identity(ViT()) == {
        "type": "ablate.model.vit.ViT",
        "dim": 384,
        "layers": 12,
        "heads": 6,
        "mlp_ratio": 4.0,
        "position_scale": 1.0,
    }
