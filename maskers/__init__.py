"""The zoo of maskers. A masker of yours may live anywhere; a study names it by its import path."""

from maskers.axes import TimeFrequency
from maskers.blocks import MultiBlock
from maskers.combinators import Gap, Guard, Mixture, Several, Subsample
from maskers.curricula import Curriculum, Vary
from maskers.unstructured import Random

__all__ = [
    "Curriculum",
    "Gap",
    "Guard",
    "Mixture",
    "MultiBlock",
    "Random",
    "Several",
    "Subsample",
    "TimeFrequency",
    "Vary",
]
