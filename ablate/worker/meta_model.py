"""A trial's model without weights: how many they would be, and what a training step would take."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ablate.core.random import StepRandom, generator
from ablate.mask_analysis.statistics import MOMENTS
from ablate.model.batching import truncate
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.jepa import step_flops
from ablate.model.masking import Clips, Grid
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractPredictor, Predictor
from ablate.model.targets import AbstractTarget, Target
from ablate.parts import PartError, Problem
from ablate.worker.trial import Trial, num_parameters

CONTENT_DIM = 8  # of the random content that is shown to a masker that looks at content


def parameters(trial: Trial) -> dict[str, int]:
    """Counts the weights, without making any.

    Raises `PartError` for a part that cannot be built on the grid.
    """
    encoder, _, predictor = _built(trial)
    return num_parameters(encoder, predictor)


def expected_flops(trial: Trial) -> int:
    """Counts the FLOPs of a training step as a run does: the mean over masks, early to late.

    Of whole clips, and always of the same masks: what a plan says is what it said before.
    """
    grid, clips = trial.twin.grid, trial.budget.batch
    encoder, target, predictor = _built(trial)
    valid = torch.ones(clips, grid.size, dtype=torch.bool)
    content = None
    if trial.masker.promises.needs is not None:
        content = torch.rand(clips, grid.size, CONTENT_DIM, generator=generator(0, "plan", "shown"))
    total = 0
    for moment in MOMENTS:
        rng = generator(0, "plan", "flops", str(moment))
        unpadded = Clips.unpadded(grid, clips, progress=moment, content=content)
        mask = trial.masker.draw(unpadded, rng)
        query = PredictionQuery(
            mask=truncate(mask, trial.batching, rng),
            valid=valid,
            device=torch.device("cpu"),
            by_block=predictor.by_block,
            padded=trial.batching == "pad",
            rng=StepRandom(0, step=0),
        )
        total += step_flops(encoder, predictor, target, query)
    return round(total / len(MOMENTS))


def _built(trial: Trial) -> tuple[Encoder, Target, Predictor]:
    grid, pixels = trial.twin.grid, trial.patchifier.pixels
    return _model(trial.encoder, trial.target, trial.predictor, grid, pixels)


@functools.lru_cache(maxsize=1024)
def _model(
    encoder: AbstractEncoder,
    target: AbstractTarget,
    predictor: AbstractPredictor,
    grid: Grid,
    pixels: int,
) -> tuple[Encoder, Target, Predictor]:
    part = "encoder"
    try:
        with _Weightless():
            reading = encoder.build(grid, pixels)
            part = "target"
            wanted = target.build(reading, grid, pixels)
            part = "predictor"
            return reading, wanted, predictor.build(grid, reading.dim, wanted.dim)
    except ValueError as error:
        raise PartError([Problem((part,), f"on a grid of {grid} patches: {error}")]) from error


class _Weightless(TorchFunctionMode):
    """Gives tensors of weights no memory.

    `torch.device("meta")` does as much for every tensor, and takes seconds to do it for ranges.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **{**kwargs, "device": "meta"} if func is torch.empty else kwargs)
