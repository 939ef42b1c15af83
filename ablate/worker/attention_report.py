"""Describes which attention kernels can serve on this machine, for `ablate doctor`."""

import torch

from ablate.core.records.messages import AttentionReply, AttentionRequest
from ablate.model.attention import KernelChoice, choose_kernel

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128)  # dimensions per head of usual models


def describe_attention(request: AttentionRequest) -> AttentionReply:
    """Describes the kernel for each type of number and the widths of heads, on the first GPU.

    A line says why xformers does not serve, if it does not. Without a GPU, one line is about the
    CPU.
    """
    if not torch.cuda.is_available():
        return AttentionReply(lines=("attention on the CPU: PyTorch's scaled dot-product",))
    device = torch.device("cuda:0")
    name = torch.cuda.get_device_name(device)
    lines = []
    for dtype_name, dtype in DTYPES.items():
        widths: dict[tuple[str, str | None], list[int]] = {}
        for width in WIDTHS:
            choice = choose_kernel(device, dtype, width)
            widths.setdefault((choice.name, _explain(choice)), []).append(width)
        for (kernel, obstacle), served in widths.items():
            heads = ", ".join(map(str, served))
            why = f"; {obstacle}" if obstacle else ""
            lines.append(
                f"attention on {device} ({name}) in {dtype_name}, heads of {heads} dimensions: "
                f"{kernel}{why}"
            )
    return AttentionReply(lines=tuple(lines))


def _explain(choice: KernelChoice) -> str | None:
    """Says why faster kernels do not serve; None if the fastest does."""
    return "; ".join(f"not {kernel}: {why}" for kernel, why in choice.obstacles.items()) or None
