"""`check_masker` fails for each broken promise, and outdated maskers are reported."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, OutdatedMaskerError, Promises
from ablate.parts import PartError, build
from ablate.testing import check_masker
from maskers import Energy, Random


@dataclass(frozen=True, kw_only=True)
class FaultyMasker(AbstractMasker):
    """A valid masker with one fault."""

    fault: str
    inner: AbstractMasker = field(default_factory=Random)

    @property
    def promises(self) -> Promises:
        return replace(self.inner.promises, exact=self.fault == "polarity")

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch = clips.grid, clips.batch
        if self.fault == "global generator":
            torch.rand(1)
        if self.fault == "own generator":
            generator = torch.Generator()
            generator.seed()
        if self.fault == "padding":
            clips = Clips.unpadded(grid, batch)
        mask = self.inner.draw(clips, generator)
        context, targets = mask.context.clone(), mask.targets.clone()
        match self.fault:
            case "off by one":  # the last row and column are never reached
                cells = targets.view(batch, -1, grid.freq, grid.time)
                cells[..., -1, :] &= grid.freq == 1
                cells[..., -1] = False
                targets[..., 0] |= ~targets.any(dim=2)
                context &= ~targets.any(dim=1)
                context[:, -1] |= ~context.any(dim=1)
            case "rare edges":
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
        ("off by one", "are never target|a padding patch was chosen"),
        ("polarity", "promised 0.400 to 0.400"),
        ("rare edges", "are too rarely target"),
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
def test_check_masker_reports_a_broken_promise(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_masker(FaultyMasker(fault=fault))


def test_check_masker_accepts_a_masker_without_a_fault():
    check_masker(FaultyMasker(fault="none"))


def test_the_smallest_grid_that_breaks_a_promise_is_named():
    with pytest.raises(AssertionError, match="an empty context on 1x2"):
        check_masker(FaultyMasker(fault="empty context"))


OLD_MASKER = """
@dataclass(frozen=True, kw_only=True)
class Old(AbstractMasker):
    promises = Promises(context=(0.0, 1.0))

    def __call__(self, grid, batch, *, generator, progress=0.0, valid=None, content=None):
        raise NotImplementedError
"""


def test_a_masker_of_version_0_1_is_an_error_with_the_lines_to_change():
    with pytest.raises(OutdatedMaskerError) as caught:
        exec(OLD_MASKER, {**globals(), "__name__": "my_lab.old"})
    message = str(caught.value)
    assert "`my_lab.old.Old` defines `__call__`" in message
    old = "def __call__(self, grid, batch, *, generator, progress=0.0, valid=None, content=None):"
    for line in (
        old,
        "def draw(self, clips, generator):",
        "grid, batch, valid = clips.grid, clips.batch, clips.valid",
    ):
        assert f"    {line}\n" in message


def test_settings_of_a_masker_of_version_0_1_are_an_error_with_its_name(tmp_path, monkeypatch):
    head = """
from dataclasses import dataclass
from ablate.model.masking import AbstractMasker, Promises
"""
    (tmp_path / "old_lab.py").write_text(head + OLD_MASKER)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PartError, match=r"`type`: `old_lab\.Old` defines `__call__`"):
        build({"type": "old_lab.Old"}, expect=AbstractMasker)


def test_needed_content_that_is_missing_is_an_error_with_the_name_of_the_masker():
    with pytest.raises(ValueError, match="`Energy` needs patches as `content`"):
        Energy().draw(Clips.unpadded(Grid(2, 3), 2), torch.Generator())
