"""Copies CPU tensors to the training device without waiting, and shares its memory."""

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device | None) -> Tensor:
    """Copies a CPU tensor to `device` without waiting for the copy to finish.

    Returns the tensor itself if `device` is the CPU or None.
    """
    if device is None or device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def limit_memory(device: torch.device, share: float) -> None:
    """Limits how much of a GPU's memory this process may use, so that others have their share.

    A training that needs more runs out of memory by itself, and takes smaller micro-batches.
    """
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(share, device)


def get_device_name(device: torch.device) -> str | None:
    """Returns the model of a GPU; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None
