"""Builds tiny models and ragged batches."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import maskers
from ablate.core.random import generator
from ablate.model.encoder import AbstractEncoder
from ablate.model.jepa import JEPA
from ablate.model.masking import Clips, Grid, Mask
from ablate.model.predictor import AbstractPredictor, Joint
from ablate.model.targets import AbstractTarget, Teacher
from ablate.model.transformer import initialise
from ablate.model.vit import ViT


@dataclass(frozen=True)
class RaggedBatch:
    """Patches, masks of unequal size whose blocks overlap, and clips of unequal length."""

    patches: Tensor
    mask: Mask
    valid: Tensor

    def select_sample(self, sample: int) -> tuple[Tensor, Mask, Tensor]:
        """Returns a batch of one sample. The batch has one mask per clip."""
        rows = slice(sample, sample + 1)
        mask = Mask(self.mask.context[rows], self.mask.targets[rows])
        return self.patches[rows], mask, self.valid[rows]


class ModelFactory:
    """Builds models and batches on one grid."""

    grid, pixels, clips = Grid(4, 8), 6, 5

    def batch(self, masker: Any = None) -> RaggedBatch:
        patches = torch.randn(self.clips, self.grid.size, self.pixels, generator=generator(0, "p"))
        columns = torch.tensor([8, 3, 8, 5, 2])
        valid = (torch.arange(8) < columns.unsqueeze(1)).repeat(1, self.grid.freq)
        masker = masker or maskers.MultiBlock(num_targets=3, target_area=(0.2, 0.3))
        mask = masker.draw(Clips(grid=self.grid, valid=valid), generator(0, "mask"))
        if mask.targets.shape[1] > 1:
            mask.targets[1, 1:] = False  # a sample may leave blocks empty
        return RaggedBatch(patches, mask, valid)

    def jepa(
        self,
        target: AbstractTarget | None = None,
        predictor: AbstractPredictor | None = None,
        encoder: AbstractEncoder | None = None,
    ) -> JEPA:
        """Builds a model whose target encoder, if any, differs from its context encoder."""
        built = (encoder or ViT(dim=16, layers=2, heads=2)).build(self.grid, self.pixels)
        initialise(built, 0, "encoder")
        built_target = (target or Teacher()).build(built, self.grid, self.pixels)
        predictor = predictor or Joint(dim=8, layers=2, heads=2)
        jepa = JEPA(built, predictor.build(self.grid, built.dim, built_target.dim), built_target, 0)
        batch = self.batch()
        built_target.prepare(lambda number: (batch.patches + number, batch.valid), 0)
        if built_target.encoder is not None:
            initialise(built_target.encoder, 1, "encoder")
        return jepa


@pytest.fixture
def models() -> ModelFactory:
    return ModelFactory()
