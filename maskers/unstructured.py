"""Unstructured masking: every patch is equally likely to be hidden.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, sec. 3.
https://arxiv.org/abs/2111.06377
The ratio 0.6 is from Riou et al., "Investigating Design Choices in Joint-Embedding Predictive
Architectures for General Audio Representation Learning", 2024. https://arxiv.org/abs/2405.08679
The maskers differ in how the patches of a mask depend on each other: not at all (`Bernoulli`), by
their number (`Random`), with neighbours in time (`Grouped`), with the rest of the batch
(`SharedRandom`), or by keeping a distance (`Lattice`, `PoissonDisk`).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from ablate.model.mask_sampling import choose, choose_lowest, draw_uniform, round_share
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises
from maskers.sampling import check_ratio, hide_rest, scatter


@dataclass(frozen=True, kw_only=True)
class Random(AbstractMasker):
    """Hides a share of the patches, chosen uniformly; all hidden patches are one target block.

    Counts are rounded, and masks of different processes differ, unlike in the code of Audio-JEPA
    (Tuncay et al., 2025, https://arxiv.org/abs/2507.02915), which is `ratio: [0.4, 0.6], per:
    batch`.

    Args:
        ratio: Share of patches hidden. From a pair, a ratio is drawn uniformly.
        per: Whether a ratio is drawn for each sample or once for the batch.

    Example:
        masker: {type: maskers.Random, ratio: [0.4, 0.6]}
    """

    ratio: float | tuple[float, float] = 0.6
    per: Literal["sample", "batch"] = "sample"

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        low, high = check_ratio(self.ratio)
        coupled = self.per == "batch" and low < high
        return Promises(context=(1 - high, 1 - low), exact=low == high, coupled=coupled)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        batch, valid = clips.batch, clips.valid
        low, high = self.promises.context
        share = draw_uniform((batch if self.per == "sample" else 1,), low, high, generator)
        context = choose(round_share(clips.num_valid, share), among=valid, generator=generator)
        return hide_rest(context, valid)


@dataclass(frozen=True, kw_only=True)
class Bernoulli(AbstractMasker):
    """Hides every patch with the same probability, independently of the others.

    The number of visible patches differs between samples; at least one patch is visible and one
    hidden. It is drawn first, which gives the same distribution as one draw per patch.

    Args:
        ratio: Probability of being hidden.

    Example:
        masker: {type: maskers.Bernoulli, ratio: 0.6}
    """

    ratio: float = 0.6

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        mean = 1 - self.ratio
        margin = 0.25  # with the tolerance of `check_masker`: 6 standard deviations of 64 draws
        return Promises(context=(max(0.0, mean - margin), min(1.0, mean + margin)))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        batch, valid = clips.batch, clips.valid
        count = clips.num_valid
        probability = torch.full((batch,), 1 - self.ratio)
        visible = torch.binomial(count.float(), probability, generator=generator).long()
        number = visible.clamp(min=1).minimum((count - 1).clamp(min=1))
        return hide_rest(choose(number, among=valid, generator=generator), valid)


@dataclass(frozen=True, kw_only=True)
class Grouped(AbstractMasker):
    """Hides groups of consecutive patches in time.

    Dinkel et al., "Scaling up masked audio encoder learning for general audio classification"
    (Dasheng), Interspeech 2024, https://arxiv.org/abs/2406.06992: pairs of 40 ms patches, 75 %.
    Unlike the reference code: on a grid of several rows each row has its own groups, and a row of
    fewer than two groups gets smaller ones. The last group of a clip may be shorter.

    Args:
        ratio: Share of the groups hidden.
        group: Patches per group, in time.

    Example:
        masker: {type: maskers.Grouped, ratio: 0.75, group: 2}
    """

    ratio: float = 0.75
    group: int = 2

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.group < 1:
            raise ValueError(f"`group` must be at least 1 patch; got {self.group}")

    @property
    def promises(self) -> Promises:
        # one group more or less matters most if there are few: 64 patches have 4 groups of 16
        sure = max(0.0, 1 - self.group / 16)
        return Promises(context=((1 - self.ratio) * sure, 1 - self.ratio * sure))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        halves = clips.num_valid.unsqueeze(1) // 2
        length = halves.clamp(min=1, max=self.group)
        patch = torch.arange(grid.size)
        offset = (patch % grid.time) % length  # position in the group, (batch, patches)
        first = valid & (offset == 0)
        kept = choose(
            round_share(first.sum(dim=1), 1 - self.ratio), among=first, generator=generator
        )
        return hide_rest(kept.gather(1, patch - offset) & valid, valid)


@dataclass(frozen=True, kw_only=True)
class SharedRandom(AbstractMasker):
    """Hides the same uniformly chosen patches in every sample of a batch.

    The successor of the code of Audio-JEPA shares one mask with a ratio from 0.4 to 0.6
    (https://github.com/LudovicTuncay/audio-embeddings), and MAE-AST offers it as `random_batched`
    (Baade et al., Interspeech 2022, https://arxiv.org/abs/2203.16691). Unlike theirs: patches are
    revealed in one order for all clips; a clip with padding skips patches that it does not have,
    until its own share is visible.

    Args:
        ratio: Share of patches hidden. From a pair, a ratio is drawn uniformly for each batch.

    Example:
        masker: {type: maskers.SharedRandom, ratio: [0.4, 0.6]}
    """

    ratio: float | tuple[float, float] = (0.4, 0.6)

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        low, high = check_ratio(self.ratio)
        return Promises(context=(1 - high, 1 - low), exact=low == high, coupled=True)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        low, high = self.promises.context
        number = round_share(clips.num_valid, draw_uniform((1,), low, high, generator))
        order = torch.rand(1, grid.size, generator=generator).expand(batch, -1)
        return hide_rest(choose_lowest(number, order, among=valid), valid)


@dataclass(frozen=True, kw_only=True)
class Lattice(AbstractMasker):
    """Shows one patch of every cell of a regular lattice, at a random offset.

    2 by 2 is the grid-wise sampling of He et al. (see above, fig. 6: the easiest task of three). On
    a grid with fewer rows than a cell, cells are longer by as much; with fewer columns, they are
    taller, so that the share stays. Unlike the original, the offset is drawn for each sample:
    otherwise most patches would never be seen.

    Args:
        freq_step: Rows per cell.
        time_step: Columns per cell.
        staggered: Shift every other row of cells by half a cell; 1 by 2 is then a checkerboard.

    Example:
        masker: {type: maskers.Lattice, freq_step: 2, time_step: 2}
    """

    freq_step: int = 2
    time_step: int = 2
    staggered: bool = False

    def __post_init__(self) -> None:
        if min(self.freq_step, self.time_step) < 1 or self.freq_step * self.time_step == 1:
            raise ValueError(
                "a cell of a lattice needs at least two patches; got `freq_step` "
                f"{self.freq_step} by `time_step` {self.time_step}"
            )

    @property
    def promises(self) -> Promises:
        steps = (self.freq_step, self.time_step)
        least, most = 1.0, 1.0
        for step in steps:  # rounding: between one cell of 2 * step - 1 patches and two of step + 1
            least, most = least / (2 * step - 1), most * 2 / (step + 1)
        return Promises(context=(least, most))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        area = self.freq_step * self.time_step
        columns = clips.num_columns.unsqueeze(1)
        tall = torch.full_like(columns, min(self.freq_step, grid.freq))
        long = (area / tall).round().long().minimum(columns).clamp(min=1)
        tall = (area / long).round().long().clamp(max=grid.freq)

        patch = torch.arange(grid.size)
        row = patch // grid.time + (torch.rand(batch, 1, generator=generator) * tall).long()
        column = patch % grid.time + (torch.rand(batch, 1, generator=generator) * long).long()
        if self.staggered:
            column = column + (row // tall) % 2 * (long // 2)
        return hide_rest((row % tall == 0) & (column % long == 0) & valid, valid)


@dataclass(frozen=True, kw_only=True)
class PoissonDisk(AbstractMasker):
    """Shows random patches that keep a distance from each other.

    Distances shrink only as far as the number of visible patches requires: if 25 % are visible, no
    two of them are adjacent. After McCool and Fiume, "Hierarchical Poisson Disk Sampling
    Distributions", Graphics Interface 1992. Unlike it, all darts of a round are thrown at the same
    time (see `scatter`), and distances wrap around the edges: otherwise patches there would be seen
    more often.

    Args:
        ratio: Share of patches hidden.

    Example:
        masker: {type: maskers.PoissonDisk, ratio: 0.75}
    """

    ratio: float = 0.75

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            slow="each round of darts depends on the positions of earlier ones",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        share = 1 - self.ratio
        number = round_share(clips.num_valid, share)
        context = scatter(grid, number, share=share, valid=valid, generator=generator)
        return hide_rest(context, valid)
