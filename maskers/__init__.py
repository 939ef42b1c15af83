"""The masker zoo. A study names a masker by its import path, so yours may be in any module."""

from maskers.axes import TimeFrequency
from maskers.bands import BandSplit, Causal, Infill, SpecAugment
from maskers.blocks import MultiBlock, UnionComplement
from maskers.centred_spans import CentredSpans
from maskers.combinators import DeadZone, Guard, Mixture, MultiMask, Subsample
from maskers.content import Energy, Informed, SilenceExcluded, VarianceWeighted
from maskers.curricula import Curriculum, ScheduledSetting
from maskers.devices import EqualCounts
from maskers.guided import AttentionGuided, HardPatches, LossWeighted
from maskers.legacy import LegacyMultiBlock
from maskers.noise import Noise, PowerLaw, VoidAndCluster
from maskers.regions import BlockWise, Clusters, InverseBlock
from maskers.roles import EveryPatch, Invert, PredictVisible
from maskers.spans import M2DSpans, RandomSpans, SeparateSpans, Spans
from maskers.strips import (
    FrequencyStrips,
    TimeFrequencyProduct,
    TimeFrequencyUnion,
    TimeStrips,
    Tube,
)
from maskers.unstructured import Bernoulli, Grouped, Lattice, PoissonDisk, Random, SharedRandom
from maskers.wavjepa import WavJEPAInverse, WavJEPASpeech

FLAT_PART_NAMES = True  # the name of a masker in fingerprints is `maskers.<ClassName>`
FORMER_NAMES = {
    "Dispersion": VarianceWeighted,
    "EvenBlue": VoidAndCluster,
    "Gap": DeadZone,
    "Several": MultiMask,
    "Vary": ScheduledSetting,
}

__all__ = [
    "AttentionGuided",
    "BandSplit",
    "Bernoulli",
    "BlockWise",
    "Causal",
    "CentredSpans",
    "Clusters",
    "Curriculum",
    "DeadZone",
    "Energy",
    "EqualCounts",
    "EveryPatch",
    "FrequencyStrips",
    "Grouped",
    "Guard",
    "HardPatches",
    "Infill",
    "Informed",
    "InverseBlock",
    "Invert",
    "Lattice",
    "LegacyMultiBlock",
    "LossWeighted",
    "M2DSpans",
    "Mixture",
    "MultiBlock",
    "MultiMask",
    "Noise",
    "PoissonDisk",
    "PowerLaw",
    "PredictVisible",
    "Random",
    "RandomSpans",
    "ScheduledSetting",
    "SeparateSpans",
    "SharedRandom",
    "SilenceExcluded",
    "Spans",
    "SpecAugment",
    "Subsample",
    "TimeFrequency",
    "TimeFrequencyProduct",
    "TimeFrequencyUnion",
    "TimeStrips",
    "Tube",
    "UnionComplement",
    "VarianceWeighted",
    "VoidAndCluster",
    "WavJEPAInverse",
    "WavJEPASpeech",
]


def __getattr__(name: str) -> type:
    """Returns a class by a former name, which studies may still use."""
    if name in FORMER_NAMES:
        return FORMER_NAMES[name]
    raise AttributeError(f"module `maskers` has no attribute `{name}`")
