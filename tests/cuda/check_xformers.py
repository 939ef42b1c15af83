"""Checks that xformers computes attention on this GPU; exits with 1 if it does not.

python check_xformers.py             forward and backward, by type of number and width of heads
python check_xformers.py STEPS.json  the kernels that served in `ablate bench steps --json`
"""

import json
import sys
from pathlib import Path

import torch

from ablate.model.attention import attend, choose_kernel
from ablate.model.segments import Segments

LENGTHS = (60, 131, 7, 199)


def check_kernels() -> bool:
    """Compares xformers with padded attention, and prints the operator that served."""
    device, agree = torch.device("cuda:0"), True
    segments = Segments(LENGTHS)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for width in (16, 32, 64, 80):
            shape = (sum(LENGTHS), 4, width)
            results = []
            for kernel in ("xformers", "padded"):
                torch.manual_seed(0)
                inputs = [
                    torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
                    for _ in range(3)
                ]
                attended = attend(*inputs, segments, kernel=kernel)
                attended.float().square().sum().backward()
                results.append([attended, *(part.grad for part in inputs)])
            error = max(
                float((one - other).detach().float().abs().max())
                for one, other in zip(*results, strict=True)
            )
            name = choose_kernel(device, dtype, width).name
            sys.stdout.write(f"{dtype} {width}: {name}, largest difference {error:.2g}\n")
            agree = agree and name.startswith("xformers") and error < 0.1
    return agree


def check_steps(file: Path) -> bool:
    """Checks which kernels served in the packed variants of a benchmark."""
    packed = [step for step in json.loads(file.read_text())["steps"] if "pack" in step["name"]]
    for step in packed:
        sys.stdout.write(f"{step['name']}: {', '.join(step['attention'])}\n")
    return all(name.startswith("xformers") for step in packed for name in step["attention"])


if __name__ == "__main__":
    served = check_steps(Path(sys.argv[1])) if len(sys.argv) > 1 else check_kernels()
    sys.exit(0 if served else 1)
