"""Fixture that builds trainers of a tiny model on noise."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import maskers
from ablate.audio.loader import Batch
from ablate.core.random import generator
from ablate.model.jepa import JEPA
from ablate.model.masking import Grid
from ablate.model.objectives import SmoothL1
from ablate.model.patchify import Rectangles
from ablate.model.predictor import Joint
from ablate.model.targets import Teacher
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.training.batch_drawer import BatchDrawer
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.optimizer import Budget, Optimizer
from ablate.training.signals import StopSignal
from ablate.training.trainer import Trainer

GRID, BANDS, FRAMES = Grid(2, 8), 8, 32


class Noise:
    """Batches of noise whose clips differ in length."""

    def batch(self, step: int, size: int) -> Batch:
        mels = torch.randn(size, BANDS, FRAMES, generator=generator(0, "noise", step))
        real = (
            torch.arange(FRAMES)
            < torch.tensor([FRAMES - 4 * (i % 5) for i in range(size)])[:, None]
        )
        return Batch(mels * real.unsqueeze(1), real)

    def paths(self, step: int, size: int) -> list[str]:
        return [f"clip{step * size + index}.wav" for index in range(size)]


def select_fields(record: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Selects the settings that are fields of a dataclass."""
    names = {field.name for field in fields(record)}
    return {name: value for name, value in settings.items() if name in names}


@pytest.fixture
def new_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Returns a function that builds a trainer; its arguments replace the defaults."""

    def build(
        encoder: Any = ViT(dim=16, layers=1, heads=2),  # noqa: B008
        target: Any = Teacher(),  # noqa: B008
        predictor: Any = Joint(dim=16, layers=1, heads=2),  # noqa: B008
        **changes: Any,
    ) -> Trainer:
        encoder_module = encoder.build(GRID, 16)
        initialise(encoder_module, 0, "encoder")
        target_module = target.build(encoder_module, GRID, 16)
        predictor_module = predictor.build(GRID, encoder_module.dim, target_module.dim)
        settings = {
            "jepa": JEPA(encoder_module, predictor_module, target_module, 0),
            "objective": SmoothL1(),
            "budget": Budget(steps=12, batch=5),
            "batching": "pack",
            "device": torch.device("cpu"),
            "optimizer": Optimizer(momentum=(0.9, 0.9)),
            **changes,
        }
        drawing = {
            "loader": Noise(),
            "patchifier": Rectangles(freq=4, time=4),
            "grid": GRID,
            "masker": maskers.MultiBlock(),
            "seed": 0,
            "mask_seed": 0,
            "precision": settings["optimizer"].precision,
            **settings,
        }
        training = {
            "drawer": BatchDrawer(**select_fields(BatchDrawer, drawing)),
            "regulariser": None,
            "on_collapse": "warn",
            "hop_seconds": 0.01,
            "ranks": Ranks(),
            "checkpoints": Checkpoints(tmp_path / "checkpoints", min_seconds=0.0),
            "stop": StopSignal(),
            **settings,
        }
        return Trainer(**select_fields(Trainer, training))

    return build
