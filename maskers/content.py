"""Content-aware masking: what is hidden depends on the sound, or on the encoder's features of it.

Niizumi et al., "Dispersion-Weighted Masking", IJCNN 2026. https://arxiv.org/abs/2603.23810
The paper compares weights taken from the input with masks informed by the encoder's own features,
and finds the latter expensive. Both are here, with the two controls that they lack: loudness
itself (`Energy`), and silence that is merely never asked for (`SilenceExcluded`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, check_range
from maskers.sampling import check_ratio, hide_rest


@dataclass(frozen=True, kw_only=True)
class VarianceWeighted(AbstractMasker):
    """Hides patches in proportion to how much the values inside each differ.

    A share of the hidden is revealed again as hints, and as many patches are hidden instead, drawn
    uniformly from all that is then visible, hints included: at 1 this is `Random`. `hint_ratio`
    decides how strong the bias is: with log-normal weights (sigma 1) and 70 % hidden, the visible
    patches weigh 0.36 of the average at 0, and 0.65, 0.85 and 0.95 at 0.2, 0.5 and 0.8. We do not
    know which of these the paper reports. Silent patches weigh nothing and are hidden last.
    """

    part = "maskers.Dispersion"  # its former name

    ratio: float = 0.7  # share hidden
    hint_ratio: float = 0.0  # share of the hidden that is drawn again uniformly
    measure: Literal["mad", "variance"] = "mad"  # mean absolute deviation from the patch's mean
    selection: Literal["draw", "top"] = "draw"  # in proportion, or those of most weight

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
        keys = _draw_race_keys(weight, generator) if drawn else _break_ties(-weight, generator)
        hidden = choose_lowest(_count_hidden(valid, self.ratio), keys, among=valid)
        hidden = _add_hints(hidden, self.hint_ratio, valid=valid, generator=generator)
        return hide_rest(valid & ~hidden, valid)


@dataclass(frozen=True, kw_only=True)
class Energy(AbstractMasker):
    """Hides loud patches more often than soft ones, or less often, as `temperature` says.

    A patch is hidden in proportion to exp(temperature * level), its level being its mean: in a
    log-mel this is a power of its energy. Our control for `VarianceWeighted`; not published.
    """

    ratio: float = 0.7  # share hidden
    temperature: float = 1.0  # per unit of the patches; below 0 prefers silence, 0 is uniform

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
        keys = _draw_race_keys(self.temperature * level, generator)
        hidden = choose_lowest(_count_hidden(valid, self.ratio), keys, among=valid)
        return hide_rest(valid & ~hidden, valid)


@dataclass(frozen=True, kw_only=True)
class SilenceExcluded(AbstractMasker):
    """Takes silent patches out of another masker's targets: nothing is to be predicted there.

    They do not join the context, so that the encoder sees as much as before. A sample that would
    be left without a target keeps those that it had, and is counted as a fallback. Silence is
    measured by a patch's mean, against the clip's own loudest patch, since recordings differ in
    gain.

    For example `masker: {type: maskers.Random}`.
    """

    masker: AbstractMasker
    below: float = 3.0  # under the loudest, in the patches' unit: deviations of the log-mel, ~18 dB

    def __post_init__(self) -> None:
        check_range("below", self.below, low=0, high=100)
        if self.masker.promises.needs == "features":
            raise ValueError(
                "silence is measured on patches, and this `masker` needs features; "
                "a masker can be given one of the two"
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
    """Hides the patches whose features are least like the nearer of the clip's two centres.

    The informed masks of Niizumi et al. (above, after their description): the first principal
    direction of a clip's features divides them in two, each side's mean is a centre, and likeness
    is the cosine. Hints are as in `VarianceWeighted`. Unlike theirs, the direction is from power
    iterations, which need no decomposition and no chance of their own.
    """

    ratio: float = 0.7  # share hidden
    hint_ratio: float = 0.5  # share of the hidden that is drawn again uniformly

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
        valid = clips.valid
        features = clips.get_content(self).float() * valid.unsqueeze(-1)
        left = _find_first_side(features, valid)
        sides = torch.stack([valid & left, valid & ~left], dim=1).float()
        centres = F.normalize(sides @ features, dim=-1)  # (batch, sides, dim)
        cosines = (features @ centres.mT).amax(dim=-1) / features.norm(dim=-1).clamp(min=1e-12)
        keys = _break_ties(cosines.double(), generator)
        hidden = choose_lowest(_count_hidden(valid, self.ratio), keys, among=valid)
        hidden = _add_hints(hidden, self.hint_ratio, valid=valid, generator=generator)
        return hide_rest(valid & ~hidden, valid)


def _given(masker: AbstractMasker, content: Tensor | None) -> Tensor:
    """Returns the content; raises `ValueError` where there is none."""
    if content is None:
        name, needs = type(masker).__name__, masker.promises.needs
        raise ValueError(
            f"`{name}` chooses by what it hears: pass {needs} as `content`, "
            "(batch, patches, dim); got None"
        )
    return content


def _compute_spread(patches: Tensor, measure: Literal["mad", "variance"]) -> Tensor:
    """Returns how much the values inside each patch differ, (batch, patches).

    A megabyte at a time, in one buffer, stays in a core's cache: four times faster than at once.
    """
    step = max(1, 2**18 // patches[0].numel())  # clips
    buffer = torch.empty_like(patches[:step])
    spread = torch.empty(patches.shape[:2], dtype=patches.dtype)
    for clip in range(0, len(patches), step):
        clips = patches[clip : clip + step]
        away = torch.sub(clips, clips.mean(dim=-1, keepdim=True), out=buffer[: len(clips)])
        away = away.abs_() if measure == "mad" else away.square_()
        spread[clip : clip + step] = away.mean(dim=-1)
    return spread


def _count_hidden(valid: Tensor, ratio: float) -> Tensor:
    count = valid.sum(dim=1)
    return count - round_share(count, 1 - ratio)


def _draw_race_keys(log_weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draws keys of which the k lowest are k draws without replacement in proportion to weight.

    Each patch waits for an exponential time at its own rate (Efraimidis and Spirakis, 2006).
    """
    wait = torch.rand(log_weight.shape, generator=generator, dtype=torch.double)
    return (-torch.log1p(-wait)).clamp(min=1e-300).log() - log_weight


def _break_ties(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Lets chance decide between equal scores, which fewer digits than a float's tell apart."""
    return scores + 1e-12 * torch.rand(scores.shape, generator=generator, dtype=torch.double)


def _add_hints(
    hidden: Tensor, share: float, *, valid: Tensor, generator: torch.Generator
) -> Tensor:
    """Reveals a share of the hidden, and hides as many of all that is then visible."""
    number = (hidden.sum(dim=1) * share).long()
    hidden = hidden & ~choose(number, among=hidden, generator=generator)
    return hidden | choose(number, among=valid & ~hidden, generator=generator)


def _find_first_side(features: Tensor, valid: Tensor) -> Tensor:
    """Tells on which side of the mean patches lie, along the direction of most variance."""
    count = valid.sum(dim=1).view(-1, 1, 1)
    centred = (features - features.sum(dim=1, keepdim=True) / count) * valid.unsqueeze(-1)
    farthest = centred.square().sum(dim=-1).argmax(dim=1)
    direction = centred[torch.arange(len(centred)), farthest].unsqueeze(1)  # (batch, 1, dim)
    for _ in range(12):  # parts two sides as a full decomposition does, in all but the closest
        direction = F.normalize(direction @ centred.mT @ centred, dim=-1)
    return (direction @ centred.mT).squeeze(1) > 0
