"""Runs one training step of a trial on a fake GPU, and prints as JSON what the device saw.

    python training_step.py SETTINGS.json

The process must be started as `conftest.py` does it. `ABLATE_NO_XFORMERS=1` shows what happens if
the extension of xformers cannot be loaded.
"""

import collections
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import fake_cuda

fake_cuda.pretend_to_have_a_gpu()
logging.getLogger("xformers").setLevel(logging.ERROR)

from torch.nn.attention import varlen  # noqa: E402
from xformers.ops import fmha  # noqa: E402
from xformers.ops.fmha import common, dispatch  # noqa: E402

from ablate.parts import build  # noqa: E402
from ablate.training.checkpoint import Checkpoints  # noqa: E402
from ablate.training.distributed import Ranks  # noqa: E402
from ablate.training.health import Health  # noqa: E402
from ablate.training.signals import StopSignal  # noqa: E402
from ablate.training.trainer import Trainer  # noqa: E402
from ablate.worker.benchmarks.steps import Noise  # noqa: E402
from ablate.worker.train import build_trainer  # noqa: E402
from ablate.worker.trial import Trial  # noqa: E402
from ablate.worker.units import convert_sizes  # noqa: E402

kernels: collections.Counter[str] = collections.Counter()


def record_kernels() -> None:
    """Counts the operators that xformers chooses, forward and backward, and calls of varlen."""
    common._built_with_cuda = os.environ.get("ABLATE_NO_XFORMERS") != "1"
    for name in ("_dispatch_fw", "_dispatch_bw"):
        choose = getattr(dispatch, name)

        def choose_and_count(inputs: Any, *args: Any, choose: Any = choose, **kwargs: Any) -> Any:
            operator = choose(inputs, *args, **kwargs)
            width, dtype = inputs.query.shape[-1], str(inputs.query.dtype).removeprefix("torch.")
            kernels[f"{operator.NAME} {dtype} {width}"] += 1
            return operator

        setattr(dispatch, name, choose_and_count)
        setattr(fmha, name, choose_and_count)
    attend = varlen.varlen_attn

    def attend_and_count(*args: Any, **kwargs: Any) -> Any:
        kernels["varlen"] += 1
        return attend(*args, **kwargs)

    varlen.varlen_attn = attend_and_count


def run_step(settings: dict[str, Any]) -> dict[str, Any]:
    """Runs the first step of a trial; returns what the device saw in it."""
    trial = build(convert_sizes(settings), expect=Trial)
    Trainer.measure_health = lambda self: Health(1.0, 1.0)  # reads numbers, and not in every step
    with fake_cuda.FakeCuda() as cuda:
        device = torch.device("cuda:0")
        checkpoints = Checkpoints(Path("unused"))
        trainer = build_trainer(trial, Noise(trial), device, Ranks(), checkpoints, StopSignal())
        state = trainer.create_state()
        batch = trainer.draw(0).pin_memory()
        cuda.reset()
        kernels.clear()
        trainer.step(state, batch)
    return {
        "kernels": dict(kernels),
        "waits": [f"{what} at {place}" for what, place in cuda.waits],
        "copies": cuda.num_copies,
        "pageable_copies": list(cuda.pageable_copies),
        "masked_attention": dict(cuda.masked_attention),
    }


if __name__ == "__main__":
    record_kernels()
    print(json.dumps(run_step(json.loads(Path(sys.argv[1]).read_text()))))  # noqa: T201
