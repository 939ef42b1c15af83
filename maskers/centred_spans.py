"""Span masking of data2vec 2.0: spans around random centres, filled up by single columns.

`CentredSpans`: `compute_block_mask_1d` of https://github.com/facebookresearch/fairseq at 3d262bb,
fairseq/data/data_utils.py, as used by examples/data2vec/config/v2/base_audio_only_task.yaml, with
its defaults. Baevski et al., "Efficient Self-supervised Learning with Contextualized Target
Representations for Vision, Speech and Language" (data2vec 2.0), ICML 2023.
https://arxiv.org/abs/2212.07525
Unlike the reference code: there is always at least one centre, and a column stays visible.
"""

from dataclasses import dataclass

import torch

from ablate.model.mask_sampling import choose_lowest
from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Mask,
    Promises,
    UnsupportedGridError,
    check_range,
)
from maskers.geometry import check_length, fill_columns, show_rest
from maskers.sampling import check_ratio


@dataclass(frozen=True, kw_only=True)
class CentredSpans(AbstractMasker):
    """Hides spans around a few random centres, then single columns until the count is exact.

    Spans overlap and are cut off at the ends of a clip, whose first and last column then stand for
    all that is beyond. As many single columns as are missing are hidden, or as are too many
    revealed, both at random: four runs in ten are single columns.

    Args:
        ratio: Share of a clip's columns hidden.
        length: Columns per span.
        adjust: Share hidden on top of `ratio`, because spans overlap.

    Example:
        masker: {type: maskers.CentredSpans, ratio: 0.5, length: 5, adjust: 0.05}
    """

    ratio: float = 0.5
    length: int = 5
    adjust: float = 0.05

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("length", self.length)
        check_range("adjust", self.adjust, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid = clips.grid
        if grid.time == 1:
            raise UnsupportedGridError(f"{grid} has one column, which no span of time can split")
        columns = clips.num_columns.unsqueeze(1)
        count = (columns * (self.ratio + self.adjust) / self.length + 1e-9).long().clamp(min=1)
        most = int(count.max())
        centres = (torch.rand((clips.batch, most), generator=generator) * columns).long()
        starts = centres - self.length // 2
        first = starts.clamp(min=0)
        ends = (starts + self.length).clamp(min=1).minimum(columns)
        first = first.minimum(columns - 1)
        is_drawn = (torch.arange(most) < count).long()
        edges = torch.zeros(clips.batch, grid.time + 1, dtype=torch.long)
        edges.scatter_add_(1, first, is_drawn)
        edges.scatter_add_(1, ends, -is_drawn)
        covered = edges.cumsum(dim=1)[:, :-1] > 0

        number = (
            (columns * self.ratio + 1e-9).long().clamp(min=1).minimum((columns - 1).clamp(min=1))
        )
        keys = torch.rand(covered.shape, generator=generator) - covered.float()
        times = choose_lowest(number.squeeze(1), keys, among=clips.columns)
        hidden = (fill_columns(grid, times) & clips.valid).unsqueeze(1)
        return show_rest(hidden, valid=clips.valid, generator=generator)
