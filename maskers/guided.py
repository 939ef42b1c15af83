"""Masks guided by the model that is being trained: by its attention, or by its loss.

`AttentionGuided`: Kakogeorgiou et al., "What to Hide from Your Students: Attention-Guided Masked
Image Modeling" (AttMask), ECCV 2022, https://arxiv.org/abs/2203.12719; code:
https://github.com/gkakogeorgiou/attmask at 9f62061, attmask.py:6-69, main_attmask.py:461-474.

`HardPatches`: Wang et al., "Hard Patches Mining for Masked Image Modeling", CVPR 2023,
https://arxiv.org/abs/2304.05919; code: https://github.com/Haochen-Wang409/HPM at c15ae90,
models_mae_learn_feature_loss.py:262-300. Unlike the code: the loss of a patch is measured when it
is predicted from a random half of the others, and not predicted by a decoder that is trained for
it (:77-83, :302-332).

`LossWeighted`: Bandara et al., "AdaMAE: Adaptive Masking for Efficient Spatiotemporal Learning with
Masked Autoencoders", CVPR 2023, https://arxiv.org/abs/2211.09120. Unlike it: AdaMAE trains a
network by policy gradient to sample visible patches where the loss is high; here they are sampled
in proportion to the measured loss, so that no network lags behind it.

Pictures and statistics without a model take the level of a patch for its attention or its loss.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, check_range
from maskers.sampling import break_ties, check_ratio, count_hidden, draw_exponential_keys, hide_rest


@dataclass(frozen=True, kw_only=True)
class AttentionGuided(AbstractMasker):
    """Hides the patches that receive the most attention, or the least.

    Attention is that of the summary token in the last layer of the target encoder, or if there is
    no summary the mean over all tokens. With `hints`, some of the most attended patches are shown
    all the same: a share `ratio` of the first `top`, as in the code.

    Unlike the code: a sample that attention does not guide (see `probability`) hides as many
    patches, drawn uniformly, instead of none; counts are rounded to the nearest patch.

    Args:
        ratio: Share of patches hidden, before hints.
        hide: Hide the most attended patches (`high`), these without hints (`hints`), or the least
            attended (`low`).
        top: Share of the most attended patches from which hints are drawn.
        probability: Share of the samples that attention guides.

    Example:
        masker: {type: maskers.AttentionGuided, ratio: 0.5, hide: hints, top: 0.1}
    """

    ratio: float = 0.5
    hide: Literal["high", "hints", "low"] = "hints"
    top: float = 0.1
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("top", self.top, low=0, high=1)
        check_range("probability", self.probability, low=0, high=1)
        if self.hide == "hints" and self.top > self.ratio:
            raise ValueError(
                f"`top` {self.top} is more than is hidden; lower it to at most `ratio` {self.ratio}"
            )

    @property
    def promises(self) -> Promises:
        visible = 1 - self.ratio
        has_hints = self.hide == "hints"
        fixed = self.probability == 1 and not has_hints
        return Promises(
            context=(visible, visible + self.top * self.ratio if has_hints else visible),
            exact=not has_hints,
            needs="attention",
            uneven="patches that receive attention are hidden more often, or less often",
            unvisited="a clip always has the same patches hidden" if fixed else "",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid, count = clips.valid, clips.num_valid
        attention = break_ties(clips.get_content(self).mean(dim=-1).double(), generator)
        keys = attention if self.hide == "low" else -attention
        guided = torch.rand(clips.batch, 1, generator=generator) < self.probability
        uniform = torch.rand(valid.shape, generator=generator, dtype=torch.double)
        keys = torch.where(guided, keys, uniform)
        hidden = choose_lowest(count_hidden(valid, self.ratio), keys, among=valid)
        if self.hide == "hints":
            first = choose_lowest(round_share(count, self.top), keys, among=valid)
            number = (count * self.top * self.ratio).round().long()
            hints = choose(number, among=first & guided, generator=generator)
            most = hidden.sum(dim=1, keepdim=True) > 1  # a sample keeps a target
            hidden = hidden & ~(hints & most)
        return hide_rest(valid & ~hidden, valid)


@dataclass(frozen=True, kw_only=True)
class HardPatches(AbstractMasker):
    """Hides patches of high loss, more and more of them during training, and others at random.

    Args:
        ratio: Share of patches hidden.
        hard: Share of the hidden patches that are those of highest loss, at the first and at the
            last step; it changes linearly.

    Example:
        masker: {type: maskers.HardPatches, ratio: 0.75, hard: [0.0, 0.5]}
    """

    ratio: float = 0.75
    hard: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        for share in self.hard:
            check_range("hard", share, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            needs="loss",
            uneven="patches of high loss are hidden more often",
            unvisited="patches of high loss are always hidden" if 1 in self.hard else "",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid = clips.valid
        loss = break_ties(clips.get_content(self).mean(dim=-1).double(), generator)
        start, end = self.hard
        share = start + (end - start) * clips.progress
        number = count_hidden(valid, self.ratio)
        num_hard = (number * share).long()
        hard = choose_lowest(num_hard, -loss, among=valid)
        others = choose(number - num_hard, among=valid & ~hard, generator=generator)
        return hide_rest(valid & ~(hard | others), valid)


@dataclass(frozen=True, kw_only=True)
class LossWeighted(AbstractMasker):
    """Draws the visible patches, or the hidden ones, in proportion to their loss.

    Args:
        ratio: Share of patches hidden.
        draw_in_proportion: Whether the context is drawn, so that hard patches are seen as in
            AdaMAE, or the targets, so that they are predicted.

    Example:
        masker: {type: maskers.LossWeighted, ratio: 0.75, draw_in_proportion: context}
    """

    ratio: float = 0.75
    draw_in_proportion: Literal["context", "targets"] = "context"

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            needs="loss",
            uneven="patches are drawn in proportion to their loss",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid = clips.valid
        loss = clips.get_content(self).mean(dim=-1).double()
        keys = draw_exponential_keys(loss.clamp(min=1e-30).log(), generator)
        number = count_hidden(valid, self.ratio)
        if self.draw_in_proportion == "targets":
            return hide_rest(valid & ~choose_lowest(number, keys, among=valid), valid)
        return hide_rest(choose_lowest(clips.num_valid - number, keys, among=valid), valid)
