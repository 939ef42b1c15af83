"""Curricula: masks that change during training.

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
    """Computes how far a curriculum is, in [0, 1].

    Args:
        schedule: `sqrt` is the competence of A-JEPA, sqrt(s (1 - c^2) + c^2) with s = `progress`,
            which gives two thirds of all masks to the end; `inverse` is 1 minus it, which gives one
            third. Two controls have the same mean as `sqrt`: `reversed` is `sqrt` at 1 - s, the
            opposite order; `constant` is its mean over training, 2/3 (1 - c^3) / (1 - c^2), without
            order. `step` changes halfway.
        progress: Share of training that is done, in [0, 1].
        competence: The constant c.
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
    """Draws the mask of each sample from `end` with a growing probability, else from `start`.

    Unlike A-JEPA, which draws one phase per step (`per: batch`): by default each sample draws its
    own, so that samples stay independent, and the mixture of a step varies less around the same
    mean.

    Args:
        start: The masker at the beginning of training.
        end: The masker at its end. Both need the same content and draw the same number of masks.
        schedule: How the probability of `end` grows; see `compute_share`.
        competence: The constant c of the schedule of A-JEPA: the value with which `sqrt` begins.
        per: Whether a phase is drawn for each sample or once for the batch.

    Example:
        masker: {type: maskers.Curriculum, start: {type: maskers.MultiBlock},
          end: {type: maskers.TimeFrequency}}
    """

    start: AbstractMasker
    end: AbstractMasker
    schedule: Schedule = "sqrt"
    competence: float = 0.01
    per: Literal["sample", "batch"] = "sample"

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
    """Changes one setting of a masker during training, from one value to another.

    Integers are rounded, also in pairs.

    Args:
        masker: The masker.
        setting: Name of one of its settings, a number or a pair of numbers.
        start: The value at the beginning of training.
        end: The value at its end.
        schedule: How the value changes; see `compute_share`.

    Example:
        masker: {type: maskers.ScheduledSetting, masker: {type: maskers.Random}, setting: ratio,
          start: 0.4, end: 0.8}
    """

    part = "maskers.Vary"  # its former name

    masker: AbstractMasker
    setting: str
    start: float | tuple[float, float]
    end: float | tuple[float, float]
    schedule: Schedule = "linear"

    def __post_init__(self) -> None:
        names = [field.name for field in _get_fields(self.masker)]
        if self.setting not in names:
            raise ValueError(
                f"`setting` {self.setting!r} is not a setting of the masker; "
                f"it has {', '.join(names)}"
            )
        if isinstance(self.start, tuple) != isinstance(self.end, tuple):
            raise ValueError(
                f"`start` {self.start} and `end` {self.end} must both be numbers or both be pairs"
            )
        kinds = _get_number_kinds(type(self.masker), self.setting)
        if not kinds:
            raise ValueError(
                f"`setting` {self.setting!r} is neither a number nor a pair of numbers"
            )
        if not {len(_to_pair(self.start)), len(_to_pair(self.end))} <= set(kinds):
            kind = " or ".join("a number" if count == 1 else "a pair" for count in sorted(kinds))
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
        """Returns the masker at a share `progress` of training, in [0, 1]."""
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


def _get_fields(masker: AbstractMasker) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(masker)  # type: ignore[arg-type]


@functools.cache
def _get_number_kinds(masker: type, setting: str) -> dict[int, bool]:
    """Maps the lengths that a setting can have (1: number, 2: pair) to whether it is integer."""
    annotation = typing.get_type_hints(masker)[setting]
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    is_integer: dict[int, bool] = {}
    for kind in typing.get_args(annotation) if union else (annotation,):
        numbers = typing.get_args(kind) or (kind,)
        if all(number in (int, float) for number in numbers) and len(numbers) <= 2:
            is_integer[len(numbers)] = float not in numbers and is_integer.get(len(numbers), True)
    return is_integer


def _to_pair(value: float | tuple[float, float]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
