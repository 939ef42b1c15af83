"""Maskers made of maskers: a curriculum moves from one to another as training goes on.

Fei, Fan and Huang, "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
https://arxiv.org/abs/2311.15830
with the competence function of Platanios et al., "Competence-based Curriculum Learning for
Neural Machine Translation", NAACL 2019, sec. 3. https://arxiv.org/abs/1903.09848
Unlike A-JEPA, which draws one phase per step: each sample draws its own, so samples stay
independent and the mixture at a step has less variance around the same mean.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import AbstractMasker, Grid, Mask, Promises, check_range


@dataclass(frozen=True, kw_only=True)
class Curriculum(AbstractMasker):
    """Draws each sample's mask from `end` with a probability that grows to 1, else from `start`.

    At progress s the probability is sqrt(s (1 - c^2) + c^2), c being `competence`, its value
    at the start.
    """

    start: AbstractMasker
    end: AbstractMasker
    competence: float = 0.01

    def __post_init__(self) -> None:
        check_range("competence", self.competence, low=0, high=1)

    @property
    def promises(self) -> Promises:
        first, last = self.start.promises, self.end.promises
        if None not in (first.needs, last.needs) and first.needs != last.needs:
            raise ValueError(
                f"`start` needs {first.needs} and `end` {last.needs}; one can be given"
            )
        return Promises(
            context=(
                min(first.context[0], last.context[0]),
                max(first.context[1], last.context[1]),
            ),
            overlap=first.overlap or last.overlap,
            coupled=first.coupled or last.coupled,
            copies=first.copies,
            needs=first.needs or last.needs,
            uneven=first.uneven or last.uneven,
            unvisited=first.unvisited or last.unvisited,
            slow=first.slow or last.slow,
        )

    def __call__(
        self,
        grid: Grid,
        batch: int,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
        valid: Tensor | None = None,
        content: Tensor | None = None,
    ) -> Mask:
        share = math.sqrt(progress * (1 - self.competence**2) + self.competence**2)
        late = torch.rand(batch, generator=generator) < share
        masks = [
            masker(
                grid, batch, generator=generator, progress=progress, valid=valid, content=content
            )
            for masker in (self.start, self.end)
        ]
        blocks = max(mask.targets.shape[1] for mask in masks)
        first, last = (_with_blocks(mask, blocks) for mask in masks)
        return Mask(
            torch.where(late.view(-1, 1), last.context, first.context),
            torch.where(late.view(-1, 1, 1), last.targets, first.targets),
        )


def _with_blocks(mask: Mask, blocks: int) -> Mask:
    """Adds empty blocks until there are `blocks`."""
    batch, present, patches = mask.targets.shape
    empty = mask.targets.new_zeros(batch, blocks - present, patches)
    return Mask(mask.context, torch.cat([mask.targets, empty], dim=1))
