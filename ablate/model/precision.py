"""Number formats in which a device computes."""

from typing import Literal

import torch

# fp32; fp32 with matrix products in TF32 (10 bits of mantissa, GPUs only); or autocast to bf16
Precision = Literal["fp32", "tf32", "bf16"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Returns the context in which forward passes are computed in a precision.

    On a GPU it also sets, for the whole process, whether products of float32 matrices use TF32: the
    backward pass runs outside of the context.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
