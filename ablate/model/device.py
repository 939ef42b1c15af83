"""Copies CPU tensors (masks, indices) to the training device without waiting."""

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device | None) -> Tensor:
    """Copies a CPU tensor to `device` without waiting for the copy to finish.

    Returns the tensor itself if `device` is the CPU or None.
    """
    if device is None or device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
