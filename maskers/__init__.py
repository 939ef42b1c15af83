"""The zoo of maskers. A masker of yours may live anywhere; a study names it by its import path."""

from maskers.axes import TimeFrequency
from maskers.blocks import MultiBlock
from maskers.combinators import Curriculum
from maskers.unstructured import Random

__all__ = ["Curriculum", "MultiBlock", "Random", "TimeFrequency"]
