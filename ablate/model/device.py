"""From the CPU, where clips and masks are drawn and counted, to the device that learns."""

import torch
from torch import Tensor


def on_device(drawn: Tensor, device: torch.device | None) -> Tensor:
    """Moves what was drawn or counted on the CPU, without waiting for the device.

    For the CPU itself, or None, it stays where it is.
    """
    if device is None or device.type == "cpu":
        return drawn
    return drawn.pin_memory().to(device, non_blocking=True)
