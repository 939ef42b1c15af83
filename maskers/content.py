"""Content-aware masking: what is hidden depends on the sound, or on features of the encoder.

Niizumi et al., "Dispersion-Weighted Masking", IJCNN 2026. https://arxiv.org/abs/2603.23810
The paper compares weights computed from the input with masks informed by the features of the
encoder, and finds the latter expensive. Both are here, with two controls that it lacks: loudness
(`Energy`), and silence that is merely not predicted (`SilenceExcluded`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.mask_sampling import choose, choose_lowest
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, check_range
from maskers.sampling import break_ties, check_ratio, count_hidden, draw_exponential_keys, hide_rest

CACHED = 2**18  # values that fit the cache of a core


@dataclass(frozen=True, kw_only=True)
class VarianceWeighted(AbstractMasker):
    """Hides patches in proportion to how much the values inside each vary.

    A share of the hidden patches is revealed again as hints, and as many patches are hidden
    instead, drawn uniformly from all that are visible then, hints included; with `hint_ratio: 1`
    this is `Random`. `hint_ratio` sets the strength of the bias: with log-normal weights (sigma 1)
    and 70 % hidden, visible patches weigh 0.36 of the average at 0, and 0.65, 0.85 and 0.95 at 0.2,
    0.5 and 0.8. We do not know which of these the paper reports. Silent patches have no weight and
    are hidden last.

    Args:
        ratio: Share of patches hidden.
        hint_ratio: Share of the hidden patches that is drawn again uniformly.
        measure: Mean absolute deviation from the mean of a patch (`mad`), or `variance`.
        selection: Draw patches in proportion to their weight, or take those of greatest weight
            (`top`).

    Example:
        masker: {type: maskers.VarianceWeighted, ratio: 0.7, hint_ratio: 0.5}
    """

    part = "maskers.Dispersion"  # its former name

    ratio: float = 0.7
    hint_ratio: float = 0.0
    measure: Literal["mad", "variance"] = "mad"
    selection: Literal["draw", "top"] = "draw"

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("hint_ratio", self.hint_ratio, low=0, high=1)

    @property
    def promises(self) -> Promises:
        drawn = self.selection == "draw" or self.hint_ratio > 0
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            needs="patches",
            uneven="patches in which little changes are hidden less often",
            unvisited="" if drawn else "a clip always has the same patches hidden",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid = clips.valid
        weight = (
            _compute_spread(clips.get_content(self), self.measure).double().clamp(min=1e-30).log()
        )
        drawn = self.selection == "draw"
        keys = draw_exponential_keys(weight, generator) if drawn else break_ties(-weight, generator)
        hidden = choose_lowest(count_hidden(valid, self.ratio), keys, among=valid)
        hidden = _add_hints(hidden, self.hint_ratio, valid=valid, generator=generator)
        return hide_rest(valid & ~hidden, valid)


@dataclass(frozen=True, kw_only=True)
class Energy(AbstractMasker):
    """Hides loud patches more often than soft ones, or less often, depending on `temperature`.

    A patch is hidden in proportion to exp(temperature * level), where level is the mean of its
    values: in a log-mel this is a power of its energy. This is our control for `VarianceWeighted`,
    not a published method.

    Args:
        ratio: Share of patches hidden.
        temperature: Strength of the bias, per unit of the values; below 0 hides silence, 0 is
            uniform.

    Example:
        masker: {type: maskers.Energy, ratio: 0.7, temperature: 1.0}
    """

    ratio: float = 0.7
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("temperature", self.temperature, low=-10, high=10)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            needs="patches",
            uneven="patches are hidden as often as they are loud" if self.temperature else "",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid = clips.valid
        level = clips.get_content(self).mean(dim=-1).double()
        keys = draw_exponential_keys(self.temperature * level, generator)
        hidden = choose_lowest(count_hidden(valid, self.ratio), keys, among=valid)
        return hide_rest(valid & ~hidden, valid)


@dataclass(frozen=True, kw_only=True)
class SilenceExcluded(AbstractMasker):
    """Removes silent patches from the targets of another masker.

    They do not join the context, so that the encoder sees as much as before. A sample that would
    have no target keeps its targets and is marked as a fallback. The level of a patch is its mean,
    compared with the loudest patch of the same clip, because the gain of recordings differs.

    Args:
        masker: The other masker.
        below: A patch is silent if it is further below the loudest than this, in units of the
            values: standard deviations of the log-mel, 3.0 of which are about 18 dB.

    Example:
        masker: {type: maskers.SilenceExcluded, masker: {type: maskers.Random}, below: 3.0}
    """

    masker: AbstractMasker
    below: float = 3.0

    def __post_init__(self) -> None:
        check_range("below", self.below, low=0, high=100)
        needs = self.masker.promises.needs
        if needs not in (None, "patches"):
            raise ValueError(
                f"silence is measured on patches, and this `masker` needs {needs}; "
                "a masker can get only one of the two"
            )

    @property
    def promises(self) -> Promises:
        inner = self.masker.promises
        return dataclasses.replace(
            inner,
            needs="patches",
            uneven=inner.uneven or "silent patches are seldom targets",
            unvisited=inner.unvisited or "a patch that is silent in every clip is never a target",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        level = clips.get_content(self).mean(dim=-1)
        mask = self.masker.draw(clips, generator)
        level = level.masked_fill(~clips.valid, -torch.inf)
        sounds = level >= level.amax(dim=1, keepdim=True) - self.below
        sounds = sounds.repeat_interleave(self.promises.copies, dim=0)
        silent = ~(mask.target_union & sounds).any(dim=1)
        targets = mask.targets & (sounds | silent.unsqueeze(1)).unsqueeze(1)
        fallback = silent if mask.fallback is None else silent | mask.fallback
        return Mask(mask.context, targets, fallback)


@dataclass(frozen=True, kw_only=True)
class Informed(AbstractMasker):
    """Hides the patches whose features are least similar to either of two centres of the clip.

    The informed masks of Niizumi et al. (see above, after their description): the first principal
    direction of a clip's features divides them in two, the mean of each side is a centre, and
    similarity is the cosine. Unlike theirs, the direction comes from power iterations, which need
    no decomposition and no randomness.

    Args:
        ratio: Share of patches hidden.
        hint_ratio: Share of the hidden patches that is drawn again uniformly; see
            `VarianceWeighted`.

    Example:
        masker: {type: maskers.Informed, ratio: 0.7, hint_ratio: 0.5}
    """

    ratio: float = 0.7
    hint_ratio: float = 0.5

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("hint_ratio", self.hint_ratio, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1 - self.ratio, 1 - self.ratio),
            exact=True,
            needs="features",
            uneven="patches unlike the rest of their clip are hidden more often",
            unvisited="" if self.hint_ratio else "a clip always has the same patches hidden",
            slow="it reads all features some 30 times",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        valid, content = clips.valid, clips.get_content(self)
        step = max(1, CACHED // content[0].numel())  # clips
        cosines = torch.cat(
            [
                _compare_with_centres(content[clip : clip + step], valid[clip : clip + step])
                for clip in range(0, clips.batch, step)
            ]
        )
        keys = break_ties(cosines.double(), generator)
        hidden = choose_lowest(count_hidden(valid, self.ratio), keys, among=valid)
        hidden = _add_hints(hidden, self.hint_ratio, valid=valid, generator=generator)
        return hide_rest(valid & ~hidden, valid)


def _compute_spread(patches: Tensor, measure: Literal["mad", "variance"]) -> Tensor:
    """Computes how much the values inside each patch vary, (batch, patches).

    One megabyte at a time, in one buffer, fits the cache of a core: four times faster.
    """
    step = max(1, CACHED // patches[0].numel())  # clips
    buffer = torch.empty_like(patches[:step])
    spread = torch.empty(patches.shape[:2], dtype=patches.dtype)
    for clip in range(0, len(patches), step):
        clips = patches[clip : clip + step]
        away = torch.sub(clips, clips.mean(dim=-1, keepdim=True), out=buffer[: len(clips)])
        away = away.abs_() if measure == "mad" else away.square_()
        spread[clip : clip + step] = away.mean(dim=-1)
    return spread


def _add_hints(
    hidden: Tensor, share: float, *, valid: Tensor, generator: torch.Generator
) -> Tensor:
    """Reveals a share of the hidden patches, and hides as many of all that are visible then."""
    number = (hidden.sum(dim=1) * share).long()
    hidden = hidden & ~choose(number, among=hidden, generator=generator)
    return hidden | choose(number, among=valid & ~hidden, generator=generator)


def _compare_with_centres(content: Tensor, valid: Tensor) -> Tensor:
    """Computes the cosine of each patch with the nearer of two centres, (clips, patches)."""
    features = content.float() * valid.unsqueeze(-1)
    left = _find_first_side(features, valid)
    sides = torch.stack([valid & left, valid & ~left], dim=1).float()
    centres = F.normalize(sides @ features, dim=-1)  # (clips, sides, dim)
    lengths: Tensor = features.norm(dim=-1)
    return (features @ centres.mT).amax(dim=-1) / lengths.clamp(min=1e-12)


def _find_first_side(features: Tensor, valid: Tensor) -> Tensor:
    """Marks the patches on one side of the mean along the direction of most variance."""
    count = valid.sum(dim=1).view(-1, 1, 1)
    centred = (features - features.sum(dim=1, keepdim=True) / count) * valid.unsqueeze(-1)
    farthest = centred.square().sum(dim=-1).argmax(dim=1)
    direction = centred[torch.arange(len(centred)), farthest].unsqueeze(1)  # (batch, 1, dim)
    for _ in range(12):  # enough to agree with a full decomposition, except in close cases
        direction = F.normalize(direction @ centred.mT @ centred, dim=-1)
    return (direction @ centred.mT).squeeze(1) > 0
