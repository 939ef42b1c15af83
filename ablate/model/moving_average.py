"""Moving averages of modules."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def move_towards(average: nn.Module, source: nn.Module, momentum: float) -> None:
    """Sets average = momentum * average + (1 - momentum) * source, for all parameters.

    Weights are float32 even under autocast: in bfloat16, steps of 1e-4 would be lost.
    """
    averages: list[Tensor] = list(average.parameters())
    sources: list[Tensor] = list(source.parameters())
    torch._foreach_lerp_(averages, sources, 1 - momentum)
