"""The zoo of maskers. A masker of yours may live anywhere; a study names it by its import path."""

from maskers.axes import TimeFrequency
from maskers.bands import BandSplit, Causal, Infill, SpecAugment
from maskers.blocks import MultiBlock, UnionComplement
from maskers.combinators import Gap, Guard, Mixture, Several, Subsample
from maskers.content import Dispersion, Energy, Informed, SilenceExcluded
from maskers.curricula import Curriculum, Vary
from maskers.legacy import LegacyMultiBlock
from maskers.noise import EvenBlue, Noise, PowerLaw
from maskers.regions import BlockWise, Clusters, InverseBlock
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

__all__ = [
    "BandSplit",
    "Bernoulli",
    "BlockWise",
    "Causal",
    "Clusters",
    "Curriculum",
    "Dispersion",
    "Energy",
    "EvenBlue",
    "FrequencyStrips",
    "Gap",
    "Grouped",
    "Guard",
    "Infill",
    "Informed",
    "InverseBlock",
    "Lattice",
    "LegacyMultiBlock",
    "M2DSpans",
    "Mixture",
    "MultiBlock",
    "Noise",
    "PoissonDisk",
    "PowerLaw",
    "Random",
    "RandomSpans",
    "SeparateSpans",
    "Several",
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
    "Vary",
    "WavJEPAInverse",
    "WavJEPASpeech",
]
