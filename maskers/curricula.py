"""Curricula: masks that change as training goes on.

Fei, Fan and Huang, "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
https://arxiv.org/abs/2311.15830
with the competence function of Platanios et al., "Competence-based Curriculum Learning for
Neural Machine Translation", NAACL 2019, sec. 3. https://arxiv.org/abs/1903.09848
"""

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, check_range
from maskers.composition import combine_promises, select_masks

Schedule = Literal["sqrt", "linear", "cosine", "step", "inverse", "reversed", "constant"]


def compute_share(schedule: Schedule, progress: float, competence: float = 0.01) -> float:
    """Returns how far a curriculum has come, in [0, 1], at a share `progress` of training.

    `sqrt` is A-JEPA's competence at s = `progress`, sqrt(s (1 - c^2) + c^2); `inverse` is 1 minus
    it, by which a third of all masks are of the end, where `sqrt` has two thirds. Two controls mix
    as `sqrt` does: `reversed` is sqrt at 1 - s, the opposite order; `constant` its mean over
    training, 2/3 (1 - c^3) / (1 - c^2), no order. `step` changes at once, halfway.
    """
    rest = 1 - competence**2

    def competent(done: float) -> float:
        return math.sqrt(done * rest + competence**2)

    shares = {
        "sqrt": competent(progress),
        "linear": progress,
        "cosine": (1 - math.cos(math.pi * progress)) / 2,
        "step": float(progress >= 0.5),
        "inverse": 1 - competent(progress),
        "reversed": competent(1 - progress),
        "constant": 2 / 3 * (1 - competence**3) / rest if rest else 1.0,
    }
    return shares[schedule]


@dataclass(frozen=True, kw_only=True)
class Curriculum(AbstractMasker):
    """Draws each sample's mask from `end` with a probability that grows, else from `start`.

    Unlike A-JEPA, which draws one phase per step (`per: batch`): by default each sample draws its
    own, so that samples stay independent and a step's mixture varies less around the same mean.
    Raises `ValueError` for two maskers that need different content or draw different numbers of
    masks.

    For example `start: {type: maskers.MultiBlock}, end: {type: maskers.TimeFrequency}`.
    """

    start: AbstractMasker
    end: AbstractMasker
    schedule: Schedule = "sqrt"  # of the probability of `end`: see `compute_share`
    competence: float = 0.01  # c of A-JEPA's schedule and those made of it: what sqrt begins with
    per: Literal["sample", "batch"] = "sample"  # what a phase is drawn for

    def __post_init__(self) -> None:
        check_range("competence", self.competence, low=0, high=1)
        combine_promises((self.start, self.end))

    @property
    def promises(self) -> Promises:
        joint = combine_promises((self.start, self.end))
        return dataclasses.replace(joint, coupled=joint.coupled or self.per == "batch")

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        rows = clips.batch * self.promises.copies
        draws = torch.rand(rows if self.per == "sample" else 1, generator=generator)
        late = draws < compute_share(self.schedule, clips.progress, self.competence)
        masks = [masker.draw(clips, generator) for masker in (self.start, self.end)]
        return select_masks(masks, late.expand(rows).long())


@dataclass(frozen=True, kw_only=True)
class ScheduledSetting(AbstractMasker):
    """Moves one setting of a masker, a number or a pair, from one value to another.

    Whole numbers are rounded, alone and in pairs. Raises `ValueError` where the masker has no such
    setting, where it is neither a number nor a pair, or where the masker refuses either value.

    For example `masker: {type: maskers.Random}, setting: ratio, start: 0.4, end: 0.8`.
    """

    part = "maskers.Vary"  # its former name

    masker: AbstractMasker
    setting: str  # its name
    start: float | tuple[float, float]  # in the unit of the setting, as is `end`
    end: float | tuple[float, float]
    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        known = {field.name: getattr(self.masker, field.name) for field in _fields(self.masker)}
        if self.setting not in known:
            names = ", ".join(known)
            raise ValueError(f"`setting` {self.setting!r} is none of the masker's: {names}")
        if isinstance(self.start, tuple) != isinstance(self.end, tuple):
            raise ValueError(f"`start` {self.start} and `end` {self.end} must be of one kind")
        wholes = _get_number_kinds(type(self.masker), self.setting)
        if not wholes:
            raise ValueError(f"`setting` {self.setting!r} is neither a number nor a pair of them")
        if not {len(_to_pair(self.start)), len(_to_pair(self.end))} <= set(wholes):
            kind = " or ".join("a number" if count == 1 else "a pair" for count in sorted(wholes))
            raise ValueError(
                f"`{self.setting}` is {kind}; got `start` {self.start} and `end` {self.end}"
            )
        self.at(0.0)
        self.at(1.0)

    @property
    def promises(self) -> Promises:
        joint = combine_promises((self.at(0.0), self.at(1.0)))
        return dataclasses.replace(joint, exact=False)

    def at(self, progress: float) -> AbstractMasker:
        """Returns the masker as it is at a share `progress` of training, in [0, 1]."""
        share = compute_share(self.schedule, progress)
        starts, ends = _to_pair(self.start), _to_pair(self.end)
        values = [low + (high - low) * share for low, high in zip(starts, ends, strict=True)]
        if _get_number_kinds(type(self.masker), self.setting)[len(values)]:
            values = [round(value) for value in values]
        settings: dict[str, Any] = {
            self.setting: tuple(values) if isinstance(self.start, tuple) else values[0]
        }
        return dataclasses.replace(self.masker, **settings)  # type: ignore[type-var]

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        return self.at(clips.progress).draw(clips, generator)


def _fields(masker: AbstractMasker) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(masker)  # type: ignore[arg-type]


@functools.cache
def _get_number_kinds(masker: type, setting: str) -> dict[int, bool]:
    """Says of a number, 1, and of a pair, 2, whether it is whole: of each that a setting may be."""
    annotation = typing.get_type_hints(masker)[setting]
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    wholes: dict[int, bool] = {}
    for kind in typing.get_args(annotation) if union else (annotation,):
        numbers = typing.get_args(kind) or (kind,)
        if all(number in (int, float) for number in numbers) and len(numbers) <= 2:
            wholes[len(numbers)] = float not in numbers and wholes.get(len(numbers), True)
    return wholes


def _to_pair(value: float | tuple[float, float]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
