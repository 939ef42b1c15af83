"""Tests `check_encoder`: encoders with one fault are found, correct ones are not."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from ablate.core.random import generator
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
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, patches, packing, *, hidden=None, rng=None):
        self.calls += 1
        tokens = self.project(packing.gather(patches))
        if hidden is not None and self.fault != "ignores hidden":
            tokens = torch.where(hidden.unsqueeze(1), self.mask_embedding, tokens)
        if hidden is not None and self.fault == "sees hidden":
            tokens = tokens + self.project(packing.gather(patches))
        place = packing.place
        if self.fault == "counts tokens":
            lengths = packing.segments.lengths
            place = torch.cat([torch.arange(length) for length in lengths])
        if self.fault == "hides positions" and hidden is not None:
            place = place.masked_fill(hidden, 0)
        if self.fault != "no positions":
            tokens = tokens + self.position_embedding[place]
        match self.fault:
            case "sees the sample before":
                before = torch.zeros(len(packing.segments.lengths) + 1, 8)
                before = before.index_add(0, packing.owner + 1, tokens)
                tokens = tokens + before[packing.owner]
            case "takes samples for clips":
                flat = patches.flatten(0, 1)
                tokens = self.project(flat[packing.index % len(flat)])
                tokens = tokens + self.position_embedding[place]
            case "counts batches":
                self.batches += 1
            case "draws for the batch" if rng is not None:
                drawn = torch.rand(len(patches), generator=generator(0, "kept", rng.step))
                tokens = tokens * (drawn < 0.5)[packing.owner // packing.copies, None]
            case "divides by the spread":
                parts = tokens.split(list(packing.segments.lengths))
                spread = [part.var(dim=0, correction=0) for part in parts]
                tokens = tokens / torch.stack(spread)[packing.owner]
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
        constant = {"no flops": 0, "constant flops": 1000}
        return constant.get(self.fault, packing.segments.num_tokens)


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
        ("constant flops", "does not grow"),
        ("sees the sample before", "depend on the other samples"),
        ("counts tokens", "order of the tokens"),
        ("takes samples for clips", "several masks per clip"),
        ("counts batches", "a forward pass changes batches"),
        ("draws for the batch", "how its batch is divided"),
        ("divides by the spread", "single visible patch are not finite"),
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
        ("hides positions", "keep their positions"),
    ],
)
def test_a_fault_of_an_encoder_that_replaces_hidden_patches_is_an_error(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(FaultyEncoder(fault=fault, hidden="replace"))


def test_layers_with_one_output_are_an_error():
    with pytest.raises(AssertionError, match="two layers have one output"):
        check_encoder(FaultyEncoder(layers=2))


def test_a_summary_of_another_shape_is_an_error():
    wrong = replace(FaultyEncoder(), fault="summary of another shape", summary=True)
    with pytest.raises(AssertionError, match="the summary is"):
        check_encoder(wrong)
