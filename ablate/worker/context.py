"""What a process brings to a run: where it computes, who hears of it, and what ends it early."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ablate.training.distributed import Ranks
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit


@dataclass(frozen=True)
class RunContext:
    """One process at work on a run folder. It decides nothing that is trained or scored."""

    device: torch.device
    cache: Path  # decoded clips, and features
    emit: Emit  # hears of progress
    stop: StopSignal
    ranks: Ranks = field(default_factory=Ranks)  # the processes that train together; one, alone
    until: int | None = None  # a step to pause training at, and to be scored
