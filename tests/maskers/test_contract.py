"""Every masker of the zoo keeps its promises, and `check_masker` fails for each broken one."""

from dataclasses import dataclass, field, replace

import pytest
import torch

import maskers
from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Grid,
    Mask,
    OutdatedMaskerError,
    Promises,
)
from ablate.parts import PartError, build
from ablate.testing import check_masker
from maskers import (
    BandSplit,
    Bernoulli,
    BlockWise,
    Causal,
    Clusters,
    Curriculum,
    DeadZone,
    Energy,
    FrequencyStrips,
    Grouped,
    Guard,
    Infill,
    Informed,
    InverseBlock,
    Lattice,
    LegacyMultiBlock,
    M2DSpans,
    Mixture,
    MultiBlock,
    MultiMask,
    Noise,
    PoissonDisk,
    PowerLaw,
    Random,
    RandomSpans,
    ScheduledSetting,
    SeparateSpans,
    SharedRandom,
    SilenceExcluded,
    Spans,
    SpecAugment,
    Subsample,
    TimeFrequency,
    TimeFrequencyProduct,
    TimeFrequencyUnion,
    TimeStrips,
    Tube,
    UnionComplement,
    VarianceWeighted,
    VoidAndCluster,
    WavJEPAInverse,
    WavJEPASpeech,
)

ZOO = [
    # unstructured
    Random(),
    Random(ratio=(0.4, 0.6)),
    Random(ratio=(0.4, 0.6), per="batch"),
    Bernoulli(),
    Bernoulli(ratio=0.9),
    Grouped(),
    Grouped(ratio=0.5, group=5),
    Grouped(group=50),
    Grouped(ratio=0.1, group=32),
    SharedRandom(),
    SharedRandom(ratio=0.75),
    Lattice(),
    Lattice(freq_step=1, staggered=True),
    Lattice(freq_step=3, time_step=4, staggered=True),
    PoissonDisk(),
    PoissonDisk(ratio=0.95),
    PoissonDisk(ratio=0.4),
    # blocks
    MultiBlock(),
    MultiBlock(num_targets=3, target_aspect=(0.5, 2.0), context_area=(0.8, 1.0)),
    UnionComplement(),
    UnionComplement(num_blocks=2, area=0.7),
    UnionComplement(sizes="batch"),
    UnionComplement(num_blocks=3, area=(0.05, 0.2)),
    LegacyMultiBlock(),
    LegacyMultiBlock(num_targets=3, target_aspect=(0.5, 2.0), context_area=(0.8, 1.0), min_keep=4),
    InverseBlock(),
    InverseBlock(shapes=((4, 6), (5, 5), (3, 8))),
    InverseBlock(ratio=0.5, length=2),
    Clusters(),
    Clusters(legacy=True),
    Clusters(ratio=0.5, side=(1, 3)),
    BlockWise(),
    BlockWise(ratio=0.6, min_patches=4),
    # axes
    TimeStrips(),
    TimeStrips(width=4),
    TimeStrips(ratio=0.3, width=8),
    FrequencyStrips(),
    FrequencyStrips(ratio=0.5, width=2),
    Tube(),
    Tube(ratio=0.6, length=8),
    Tube(ratio=0.6, along="freq"),
    Tube(ratio=0.6, along="freq", length=2),
    TimeFrequencyProduct(),
    TimeFrequencyProduct(time=0.2, freq=0.2),
    TimeFrequencyUnion(),
    TimeFrequencyUnion(as_in_reference_code=True),
    TimeFrequencyUnion(ratio=0.4),
    SpecAugment(),
    SpecAugment(freq_bands=0, time_width=0.3),
    SpecAugment(time_bands=0),
    TimeFrequency(axes="time"),
    TimeFrequency(axes="freq"),
    TimeFrequency(axes="both"),
    TimeFrequency(axes="both", units="patches", min_context=0.0),
    TimeFrequency(units="patches"),
    Causal(),
    Causal(context=0.5, horizon=0.2, gap=2),
    Infill(),
    Infill(ratio=0.5),
    BandSplit(),
    BandSplit(context="high", ratio=0.25),
    BandSplit(context="random"),
    BandSplit(context="random", ratio=(0.3, 0.7)),
    # spans
    Spans(),
    Spans(ratio=0.5, length=5),
    Spans(count="nominal"),
    RandomSpans(),
    RandomSpans(lengths="geometric", mean=5, longest=10),
    SeparateSpans(),
    SeparateSpans(ratio=0.4, length=4, gap=3),
    M2DSpans(),
    M2DSpans(as_in_reference_code=True),
    WavJEPAInverse(),
    WavJEPASpeech(),
    # noise
    Noise(),
    Noise(colour="red", sigma_freq=2.0, sigma_time=4.0),
    Noise(colour="red", sigma_freq=16.0, sigma_time=16.0),
    Noise(colour="blue", sigma_freq=0.0),
    Noise(colour="purple", sigma_freq=0.5, sigma_time=0.5, width=4.0),
    PowerLaw(beta=-2.0),
    PowerLaw(beta=0.0),
    PowerLaw(beta=2.0, ratio=0.6),
    PowerLaw(beta=4.0),
    VoidAndCluster(),
    VoidAndCluster(ratio=0.5),
    # content
    VarianceWeighted(),
    VarianceWeighted(hint_ratio=0.5, measure="variance"),
    VarianceWeighted(selection="top"),
    Energy(),
    Energy(temperature=-2.0),
    SilenceExcluded(masker=Random()),
    SilenceExcluded(masker=VarianceWeighted(), below=0.1),
    Informed(),
    Informed(hint_ratio=0.0),
    # curricula and combinators
    Curriculum(start=MultiBlock(), end=TimeFrequency()),
    Curriculum(start=Random(ratio=0.4), end=Random(ratio=0.8), per="batch"),
    ScheduledSetting(masker=Random(), setting="ratio", start=0.4, end=0.8),
    Mixture(maskers=(Random(), MultiBlock()), weights=(1, 2)),
    MultiMask(maskers=(Random(), MultiBlock()), times=2),
    Subsample(masker=Random(ratio=0.8), share=0.25),
    DeadZone(masker=MultiBlock(num_targets=2)),
    DeadZone(masker=Random(), freq=1, time=1),
    Guard(masker=Random(ratio=(0.4, 0.95)), min_context=0.2),
]


def test_every_masker_of_the_zoo_is_tested():
    assert {type(masker).__name__ for masker in ZOO} == set(maskers.__all__)


@pytest.mark.parametrize("masker", ZOO, ids=repr)
def test_the_zoo_keeps_its_promises(masker):
    check_masker(masker)


@dataclass(frozen=True, kw_only=True)
class Planted(AbstractMasker):
    """A good masker with one fault."""

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
        ("edges seldom", "are too rarely target"),
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
def test_check_masker_reports_a_planted_fault(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_masker(Planted(fault=fault))


def test_the_masker_without_a_fault_passes():
    check_masker(Planted(fault="none"))


def test_the_smallest_grid_that_breaks_a_promise_is_named():
    with pytest.raises(AssertionError, match="an empty context on 1x2"):
        check_masker(Planted(fault="empty context"))


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
