"""Tests `check_encoder`: encoders with one fault are found, correct ones are not."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from ablate.model.conformer import Conformer
from ablate.model.encoder import AbstractEncoder, Encoded, Encoder
from ablate.model.vit import ViT
from ablate.testing import check_encoder

WIDTH = {"dim": 16, "layers": 2, "heads": 2}


@pytest.mark.parametrize(
    "encoder",
    [
        ViT(**WIDTH),
        ViT(**WIDTH, hidden="replace", norm="post"),
        ViT(**WIDTH, summary=True, registers=2, drop_path=0.2),
        Conformer(**WIDTH, kernel=3),
        Conformer(**WIDTH, kernel=3, hidden="replace"),
    ],
    ids=repr,
)
def test_our_encoders_pass(encoder):
    check_encoder(encoder)


@dataclass(frozen=True, kw_only=True)
class FaultyEncoder(AbstractEncoder):
    """A small encoder with one fault."""

    fault: str = "none"
    layers: int = 1
    hidden: str = "drop"
    summary: bool = False

    def build(self, grid, pixels):
        return FaultyEncoderModule(self, grid, pixels)


class FaultyEncoderModule(Encoder):
    def __init__(self, settings, grid, pixels):
        super().__init__()
        self.dim, self.hidden, self.fault = 8, settings.hidden, settings.fault
        self.settings = settings
        self.project = nn.Linear(pixels, 8)
        self.position_embedding = nn.Parameter(torch.zeros(grid.size, 8))
        self.mask_embedding = nn.Parameter(torch.zeros(8))
        if settings.hidden == "drop":
            self.mask_embedding.requires_grad_(requires_grad=False)
        self.unused = nn.Linear(2, 2) if self.fault == "unused weights" else None
        self.calls = 0

    def forward(self, patches, packing, *, hidden=None, rng=None):
        self.calls += 1
        tokens = self.project(packing.gather(patches))
        if hidden is not None and self.fault != "ignores hidden":
            tokens = torch.where(hidden.unsqueeze(1), self.mask_embedding, tokens)
        if hidden is not None and self.fault == "sees hidden":
            tokens = tokens + self.project(packing.gather(patches))
        if self.fault != "no positions":
            tokens = tokens + self.position_embedding[packing.place]
        match self.fault:
            case "mixes samples":
                tokens = tokens + tokens.mean(dim=0)
            case "sees all patches":
                tokens = tokens + self.project(patches).mean(dim=(0, 1))
            case "random":
                tokens = tokens + torch.randn(
                    8, generator=torch.Generator().manual_seed(self.calls)
                )
            case "state":
                tokens = tokens + self.calls
            case "wrong width":
                tokens = tokens[:, :4]
            case "not finite":
                tokens = tokens / 0
            case "in place":
                patches += 1
            case "ignores patches":
                tokens = self.position_embedding[packing.place] + 0 * tokens
        layers = () if self.fault == "no layers" else (tokens,) * self.settings.layers
        if self.fault == "another number of layers":
            layers = layers * 2
        summary = torch.zeros(2, 8) if self.fault == "summary of another shape" else None
        return Encoded(tokens, layers, summary)

    def flops(self, packing):
        return 0 if self.fault == "no flops" else packing.segments.num_tokens


def test_an_encoder_without_a_fault_passes():
    check_encoder(FaultyEncoder())
    check_encoder(FaultyEncoder(hidden="replace"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("mixes samples", "depend on the other samples"),
        ("sees all patches", "depend on"),
        ("random", "two calls give two results"),
        ("state", "two calls give two results"),
        ("wrong width", "tokens are"),
        ("not finite", "not finite"),
        ("in place", "changed in place"),
        ("ignores patches", "do not depend on the patches"),
        ("no positions", "add positions"),
        ("no layers", "`layers` is empty"),
        ("another number of layers", "declare 1 layers, but 2"),
        ("summary of another shape", "the output says otherwise"),
        ("unused weights", "no gradient reaches unused"),
        ("no flops", "not positive"),
    ],
)
def test_a_fault_is_an_error(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(FaultyEncoder(fault=fault))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("ignores hidden", "`hidden` changes nothing|depend on"),
        ("sees hidden", "content of hidden"),
    ],
)
def test_a_fault_of_an_encoder_that_replaces_hidden_patches_is_an_error(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(FaultyEncoder(fault=fault, hidden="replace"))


def test_a_summary_of_another_shape_is_an_error():
    wrong = replace(FaultyEncoder(), fault="summary of another shape", summary=True)
    with pytest.raises(AssertionError, match="the summary is"):
        check_encoder(wrong)
