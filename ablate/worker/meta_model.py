"""Counts the parameters and FLOPs of a trial's model on the meta device, without its weights."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ablate.core.random import StepRandom, generator
from ablate.mask_analysis.realised_shares import MOMENTS
from ablate.model.batching import truncate
from ablate.model.encoder import AbstractEncoder, Encoder
from ablate.model.jepa import step_flops
from ablate.model.masking import Clips, Grid
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractPredictor, Predictor
from ablate.model.targets import AbstractTarget, Target
from ablate.parts import PartError, Problem
from ablate.worker.trial import Trial, count_parameters

CONTENT_DIM = 8  # values per patch of the random content for maskers that need content


def count_trial_parameters(trial: Trial) -> dict[str, int]:
    """Counts the weights of encoder and predictor.

    Raises `PartError` for a part that cannot be built on the grid.
    """
    encoder, _, predictor = _build_model(trial)
    return count_parameters(encoder, predictor)


def estimate_step_flops(trial: Trial) -> int:
    """Estimates the FLOPs of a training step: the mean over masks from early to late in training.

    Clips are unpadded, and the masks are the same at every call: a matched budget depends on it.
    """
    grid, clips = trial.grid, trial.budget.batch
    encoder, target, predictor = _build_model(trial)
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
            mask=truncate(mask, trial.batching, rng, copies=trial.masker.promises.copies),
            valid=valid,
            device=torch.device("cpu"),
            by_block=predictor.by_block,
            padded=trial.batching == "pad",
            rng=StepRandom(0, step=0),
        )
        total += step_flops(encoder, predictor, target, query)
    return round(trial.num_roles * total / len(MOMENTS))


def _build_model(trial: Trial) -> tuple[Encoder, Target, Predictor]:
    grid, pixels = trial.grid, trial.patchifier.pixels
    return _build_parts(trial.encoder, trial.target, trial.predictor, grid, pixels)


@functools.lru_cache(maxsize=1024)
def _build_parts(
    encoder: AbstractEncoder,
    target: AbstractTarget,
    predictor: AbstractPredictor,
    grid: Grid,
    pixels: int,
) -> tuple[Encoder, Target, Predictor]:
    part = "encoder"
    try:
        with _WeightsOnMetaDevice():
            built_encoder = encoder.build(grid, pixels)
            part = "target"
            built_target = target.build(built_encoder, grid, pixels)
            part = "predictor"
            built_predictor = predictor.build(grid, built_encoder.dim, built_target.dim)
            built_target.attach(built_predictor)
            return built_encoder, built_target, built_predictor
    except ValueError as error:
        raise PartError([Problem((part,), f"on a grid of {grid} patches: {error}")]) from error


class _WeightsOnMetaDevice(TorchFunctionMode):
    """Creates uninitialised tensors, such as weights, on the meta device.

    `torch.device("meta")` would create all tensors there, which takes seconds for ranges.
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
