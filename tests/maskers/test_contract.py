"""Every masker of the zoo keeps the promises, and `check_masker` fails for each broken one."""

from dataclasses import dataclass, field, replace

import pytest
import torch

import maskers
from ablate.model.masking import AbstractMasker, Mask, Promises
from ablate.testing import check_masker

ZOO = [
    maskers.Random(),
    maskers.Random(ratio=(0.4, 0.6)),
    maskers.MultiBlock(),
    maskers.MultiBlock(num_targets=3, target_aspect=(0.5, 2.0), context_area=(0.8, 1.0)),
    maskers.TimeFrequency(axes="time"),
    maskers.TimeFrequency(axes="freq"),
    maskers.TimeFrequency(axes="both"),
    maskers.Curriculum(start=maskers.MultiBlock(), end=maskers.TimeFrequency()),
    maskers.Curriculum(start=maskers.Random(ratio=0.4), end=maskers.Random(ratio=0.8), per="batch"),
    maskers.Vary(masker=maskers.Random(), setting="ratio", start=0.4, end=0.8),
    maskers.Mixture(maskers=(maskers.Random(), maskers.MultiBlock()), weights=(1, 2)),
    maskers.Several(maskers=(maskers.Random(), maskers.MultiBlock()), times=2),
    maskers.Subsample(masker=maskers.Random(ratio=0.8), share=0.25),
    maskers.Gap(masker=maskers.MultiBlock(num_targets=2)),
    maskers.Gap(masker=maskers.Random(), freq=1, time=1),
    maskers.Guard(masker=maskers.Random(ratio=(0.4, 0.95)), min_context=0.2),
]


def test_every_masker_of_the_zoo_is_examined():
    assert {type(masker).__name__ for masker in ZOO} == set(maskers.__all__)


@pytest.mark.parametrize("masker", ZOO, ids=str)
def test_the_zoo_keeps_its_promises(masker):
    check_masker(masker)


@dataclass(frozen=True, kw_only=True)
class Planted(AbstractMasker):
    """A good masker with one fault."""

    fault: str
    inner: AbstractMasker = field(default_factory=maskers.Random)

    @property
    def promises(self) -> Promises:
        return replace(self.inner.promises, exact=self.fault == "polarity")

    def __call__(self, grid, batch, *, generator, progress=0.0, valid=None, content=None) -> Mask:
        if self.fault == "global generator":
            torch.rand(1)
        if self.fault == "own generator":
            generator = torch.Generator()
            generator.seed()
        if self.fault == "padding":
            valid = None
        mask = self.inner(grid, batch, generator=generator, progress=progress, valid=valid)
        context, targets = mask.context.clone(), mask.targets.clone()
        match self.fault:
            case "off by one":  # the last row and column are never reached
                cells = targets.view(batch, -1, grid.freq, grid.time)
                cells[..., -1, :] &= grid.freq == 1
                cells[..., -1] = False
                targets[..., 0] |= ~targets.any(dim=2)
                context &= ~targets.any(dim=1)
                context[:, -1] |= ~context.any(dim=1)
            case "edges seldom":
                edge = torch.arange(grid.size) % grid.time == 0
                moved = targets & edge & (torch.rand(batch, 1, 1, generator=generator) < 0.7)
                moved &= targets.sum(dim=2, keepdim=True) > grid.freq
                targets &= ~moved
            case "polarity":
                context, targets = targets.any(dim=1), context.unsqueeze(1)
            case "empty context":
                context[0] = False
            case "no target":
                targets[0] = False
            case "overlap":
                targets[:, 0] |= context
            case "float":
                context = context.float()
            case "blocks first":
                targets = targets.transpose(0, 1)
        return Mask(context, targets)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("off by one", "are never target"),
        ("polarity", "promised 0.400 to 0.400"),
        ("edges seldom", "are too seldom target"),
        ("global generator", "torch's global generator was used"),
        ("own generator", "one seed gave two"),
        ("empty context", "an empty context"),
        ("no target", "a sample without a target"),
        ("padding", "a padding patch was chosen"),
        ("overlap", "context meets target"),
        ("float", "a mask is not bool"),
        ("blocks first", "targets are"),
    ],
)
def test_a_planted_fault_is_found(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_masker(Planted(fault=fault))


def test_the_masker_without_a_fault_passes():
    check_masker(Planted(fault="none"))


def test_the_smallest_grid_that_breaks_a_promise_is_named():
    with pytest.raises(AssertionError, match="an empty context on 1x2"):
        check_masker(Planted(fault="empty context"))
