"""Unstructured masking: every patch is as likely to be hidden as any other.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, sec. 3.
https://arxiv.org/abs/2111.06377
Ratio 0.6 is that of Riou et al., "Investigating Design Choices in Joint-Embedding Predictive
Architectures for General Audio Representation Learning", 2024. https://arxiv.org/abs/2405.08679
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import (
    AbstractMasker,
    Grid,
    Mask,
    Promises,
    all_valid,
    check_range,
    choose,
    share_of,
    uniform,
)


@dataclass(frozen=True, kw_only=True)
class Random(AbstractMasker):
    """Hides a share of the patches, chosen uniformly; all hidden patches are one target block.

    A range draws the ratio anew for every sample. Unlike Audio-JEPA's code (Tuncay et al., 2025,
    https://arxiv.org/abs/2507.02915), which draws it once per batch: samples stay independent.
    """

    ratio: float | tuple[float, float] = 0.6  # share hidden

    def __post_init__(self) -> None:
        low, high = check_range("ratio", self.ratio, low=0, high=1)
        if low == 0 or high == 1:
            raise ValueError(
                f"`ratio` {self.ratio} hides nothing or everything; stay inside (0, 1)"
            )

    @property
    def promises(self) -> Promises:
        low, high = check_range("ratio", self.ratio, low=0, high=1)
        return Promises(context=(1 - high, 1 - low), exact=low == high)

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
        valid = all_valid(grid, batch, valid)
        low, high = self.promises.context
        share = uniform((batch,), low, high, generator)
        context = choose(share_of(valid.sum(dim=1), share), among=valid, generator=generator)
        return Mask(context, (valid & ~context).unsqueeze(1))
