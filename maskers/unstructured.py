"""Unstructured masking: every patch is as likely to be hidden as any other.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, sec. 3.
https://arxiv.org/abs/2111.06377
Ratio 0.6 is that of Riou et al., "Investigating Design Choices in Joint-Embedding Predictive
Architectures for General Audio Representation Learning", 2024. https://arxiv.org/abs/2405.08679
What differs is how patches of one mask depend on one another: not at all (`Bernoulli`), by their
count alone (`Random`), with their neighbours in time (`Grouped`), with the rest of the batch
(`SharedRandom`), or by keeping apart (`Lattice`, `PoissonDisk`).
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

    A range draws the ratio anew for every sample, or once for the batch. Audio-JEPA (Tuncay et
    al., 2025, https://arxiv.org/abs/2507.02915) is `ratio: [0.4, 0.6]` with `per: batch`. Unlike
    its code: counts are rounded, not cut, and processes do not repeat one another's masks.
    """

    ratio: float | tuple[float, float] = 0.6  # share hidden
    per: Literal["sample", "batch"] = "sample"  # what a ratio is drawn for

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
    """Hides every patch with one probability, whatever becomes of the others.

    Counts differ from sample to sample, as packing allows. One patch at least stays on either
    side. The count is drawn first, which gives the same masks as a coin for every patch.
    """

    ratio: float = 0.6  # probability of being hidden

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        mean = 1 - self.ratio
        margin = 0.25  # with the slack of `check_masker`: 6 deviations of 64 coins
        return Promises(context=(max(0.0, mean - margin), min(1.0, mean + margin)))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        batch, valid = clips.batch, clips.valid
        count = clips.num_valid
        chance = torch.full((batch,), 1 - self.ratio)
        visible = torch.binomial(count.float(), chance, generator=generator).long()
        number = visible.clamp(min=1).minimum((count - 1).clamp(min=1))
        return hide_rest(choose(number, among=valid, generator=generator), valid)


@dataclass(frozen=True, kw_only=True)
class Grouped(AbstractMasker):
    """Hides groups of patches that follow one another in time, each group whole.

    Dinkel et al., "Scaling up masked audio encoder learning for general audio classification"
    (Dasheng), Interspeech 2024, https://arxiv.org/abs/2406.06992: pairs of 40 ms patches, 75 %.
    A clip's last group may be shorter. Unlike the reference code: on a grid of several rows each
    row has groups of its own, and one row of fewer than two groups gets smaller ones.
    """

    ratio: float = 0.75  # share of the groups that is hidden
    group: int = 2  # patches, in time

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.group < 1:
            raise ValueError(f"`group` must be at least 1 patch; got {self.group}")

    @property
    def promises(self) -> Promises:
        # one group more or less weighs most in a clip of few: of 64 patches, say, in groups of 16
        sure = max(0.0, 1 - self.group / 16)
        return Promises(context=((1 - self.ratio) * sure, 1 - self.ratio * sure))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        halves = clips.num_valid.unsqueeze(1) // 2
        length = halves.clamp(min=1, max=self.group)
        patch = torch.arange(grid.size)
        offset = (patch % grid.time) % length  # of a patch in its group, (batch, patches)
        first = valid & (offset == 0)
        kept = choose(
            round_share(first.sum(dim=1), 1 - self.ratio), among=first, generator=generator
        )
        return hide_rest(kept.gather(1, patch - offset) & valid, valid)


@dataclass(frozen=True, kw_only=True)
class SharedRandom(AbstractMasker):
    """Hides the same uniformly chosen patches of every sample of a batch.

    Tuncay's audio-embeddings, the successor of Audio-JEPA's code, shares one mask with a ratio
    from 0.4 to 0.6 (https://github.com/LudovicTuncay/audio-embeddings), and MAE-AST offers it as
    `random_batched` (Baade et al., Interspeech 2022, https://arxiv.org/abs/2203.16691).
    Unlike theirs: patches are shown in one order for all clips, of which a clip with padding skips
    those that it lacks, until its own share is visible.
    """

    ratio: float | tuple[float, float] = (0.4, 0.6)  # share hidden

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
    """Shows one patch of every cell of `freq_step` by `time_step`, at a random phase.

    The grid-wise sampling of He et al. (above, fig. 6: the easiest task of the three) is 2 by 2.
    `staggered` moves every other row of cells by half a cell: 1 by 2 is then a checkerboard.
    Where a grid has fewer rows than a cell, cells are longer by as much, and taller where it has
    fewer columns, so that the share stays. Unlike the original, the phase is drawn per sample, or
    most patches would never be seen.
    """

    freq_step: int = 2  # patches
    time_step: int = 2  # patches
    staggered: bool = False  # whether every other row of cells is moved by half a cell

    def __post_init__(self) -> None:
        if min(self.freq_step, self.time_step) < 1 or self.freq_step * self.time_step == 1:
            raise ValueError(
                "a cell of a lattice holds two patches at least; got `freq_step` "
                f"{self.freq_step} by `time_step` {self.time_step}"
            )

    @property
    def promises(self) -> Promises:
        steps = (self.freq_step, self.time_step)
        least, most = 1.0, 1.0
        for step in steps:  # a clip one patch short of two cells shows one; one patch more, two
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
    """Shows patches that keep a distance from one another, and otherwise lie at random.

    Distances shrink only as far as the count requires: where 25 % stay visible, no two of them
    are side by side. After McCool and Fiume, "Hierarchical Poisson Disk Sampling Distributions",
    Graphics Interface 1992; unlike it, the darts of a round are thrown at once (see `scatter`),
    and around the edges, or patches there would be seen more often.
    """

    ratio: float = 0.75  # share hidden

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            slow="each round of darts depends on where those before it lie",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        share = 1 - self.ratio
        number = round_share(clips.num_valid, share)
        context = scatter(grid, number, share=share, valid=valid, generator=generator)
        return hide_rest(context, valid)
