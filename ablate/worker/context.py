"""Defines what a process brings to a run: device, cache, progress reports and stop signal."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ablate.training.distributed import Ranks
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit


@dataclass(frozen=True)
class RunContext:
    """The process that works on a run folder; it affects neither training nor scores."""

    device: torch.device
    cache: Path  # folder of decoded clips and features
    emit: Emit  # reports progress
    stop: StopSignal
    ranks: Ranks = field(default_factory=Ranks)  # processes that train together; one by default
    until: int | None = None  # step at which to pause and to score
