"""Targets with classes that a moving average of the predictor's head assigns."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ablate.model.class_head import ClassHeadPredictor, Head
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid, check_range
from ablate.model.moving_average import move_towards
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import AbstractTarget, DrawPatches, Target, TargetValues, Teacher


@dataclass(frozen=True, kw_only=True)
class Classes(AbstractTarget):
    """Another target, and next to it the probability of each class, as in MATPAC.

    The classes of a target are those of a head that is a moving average of the head of the
    predictor `ablate.model.class_head.ClassHead`. From its scores a running centre is subtracted,
    so that no class wins everywhere, and a low temperature sharpens them, so that not all classes
    are equal.

    Code: https://github.com/aurianworld/matpac at b0e2dc7, training_matpac/models/, cls_head.py:
    12-37,103-106,170-201 and model.py:272-327. There the centre averages the probabilities instead
    of the scores (model.py:305-309), which leaves it close to zero: `as_in_reference_code`.

    Args:
        target: The other target, which makes no classes and is as wide as the encoder.
        classes: Number of classes.
        temperature: Divisor of the scores before and after the warm-up; it rises linearly.
        warmup: Share of the training in which it rises.
        momentum: Momentum of the head at the first and the last step; it changes linearly.
        centre_momentum: Momentum of the centre.
        as_in_reference_code: Whether the centre averages probabilities.

    Example:
        target: {type: ablate.model.class_target.Classes, classes: 2048}
    """

    target: AbstractTarget = field(default_factory=Teacher)
    classes: int = 2048
    temperature: tuple[float, float] = (0.04, 0.07)
    warmup: float = 1 / 30
    momentum: tuple[float, float] = (0.998, 1.0)
    centre_momentum: float = 0.9
    as_in_reference_code: bool = False

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"`classes` must be at least 2; got {self.classes}")
        if min(self.temperature) <= 0:
            raise ValueError(f"`temperature` must be above 0; got {list(self.temperature)}")
        for name in ("warmup", "centre_momentum"):
            check_range(name, getattr(self, name), low=0, high=1)
        for value in self.momentum:
            check_range("momentum", value, low=0, high=1)
        if self.target.discrete or isinstance(self.target, Classes):
            raise ValueError(f"`target` makes classes already: {type(self.target).__name__}")

    def temperature_at(self, progress: float) -> float:
        """Returns the divisor of the scores when `progress`, in [0, 1], of training is done."""
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return self.temperature[0] + (self.temperature[1] - self.temperature[0]) * share

    def momentum_at(self, progress: float) -> float:
        """Returns the momentum of the head when `progress`, in [0, 1], of training is done."""
        return self.momentum[0] + (self.momentum[1] - self.momentum[0]) * progress

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        inner = self.target.build(encoder, grid, pixels)
        if inner.dim != encoder.dim:
            raise ValueError(
                f"`target` of `Classes` must be as wide as the encoder, {encoder.dim}, whose "
                f"features the head reads; `{type(self.target).__name__}` is {inner.dim} wide. "
                "Use `ablate.model.targets.Teacher` with `combine: average`"
            )
        return ClassesTarget(self, inner)


class ClassesTarget(Target):
    """Values of another target next to probabilities, `(target tokens, dim + classes)`."""

    head: Head

    def __init__(self, settings: Classes, inner: Target) -> None:
        super().__init__()
        self.settings = settings
        self.inner = inner
        self.dim = inner.dim + settings.classes
        self.register_buffer("centre", torch.zeros(settings.classes))
        self.centre: Tensor
        # sums of a step's scores and, in the last entry, their count; ranks add these up
        self.register_buffer("sums", torch.zeros(settings.classes + 1), persistent=False)
        self.sums: Tensor

    @property
    def encoder(self) -> Encoder | None:  # type: ignore[override]  # that of the other target
        """The moving average of the context encoder, if the other target has one."""
        return self.inner.encoder

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Prepares the other target."""
        self.inner.prepare(draw, seed)

    def attach(self, predictor: nn.Module) -> None:
        """Copies the head of the predictor, which the own head follows from then on."""
        if not isinstance(predictor, ClassHeadPredictor):
            raise ValueError(
                "classes are assigned by a head of the predictor, which "
                f"`{type(predictor).__name__}` has not; use `ablate.model.class_head.ClassHead`"
            )
        self.inner.attach(predictor.inner)
        self.head = copy.deepcopy(predictor.head).requires_grad_(requires_grad=False)
        self._followed = (predictor.head,)  # in a tuple, so that it is not registered twice

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        values = self.inner(patches, query)
        scores = self.head(values.tokens).float()
        temperature = self.settings.temperature_at(query.progress)
        classes = ((scores - self.centre) / temperature).softmax(dim=-1)
        averaged = classes if self.settings.as_in_reference_code else scores
        self.sums[:-1] += averaged.sum(dim=0)
        self.sums[-1] += len(averaged)
        return TargetValues(torch.cat([values.tokens, classes], dim=-1), values.clip_means)

    def flops(self, query: PredictionQuery) -> int:
        return self.inner.flops(query) + self.head.flops(query.targets.segments.num_tokens)

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Moves the other target towards the context encoder."""
        self.inner.update(encoder, momentum)

    @property
    def pending(self) -> list[Tensor]:
        """Sums and number of the scores of a step."""
        return [self.sums, *self.inner.pending]

    def discard_pending(self) -> None:
        """Clears the sums of a step that is repeated."""
        self.sums.zero_()
        self.inner.discard_pending()

    @torch.no_grad()
    def finish_step(self, progress: float) -> None:
        """Moves the centre and the head; `progress` is the share of training done, in [0, 1]."""
        mean = self.sums[:-1] / self.sums[-1].clamp(min=1)
        self.centre.lerp_(mean, 1 - self.settings.centre_momentum)
        move_towards(self.head, self._followed[0], self.settings.momentum_at(progress))
        self.sums.zero_()
        self.inner.finish_step(progress)
