"""Runs steps of a trial on a fake GPU, and prints as JSON what the device saw in each.

    python device_steps.py SETTINGS.json

The steps are the first of a training, the first after a resume, the features of a batch of clips,
and a step of fine-tuning.

The process must be started as `conftest.py` does it. `ABLATE_NO_XFORMERS=1` shows what happens if
the extension of xformers cannot be loaded.
"""

import collections
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

sys.path.insert(0, str(Path(__file__).parent))
import fake_cuda

fake_cuda.pretend_to_have_a_gpu()
logging.getLogger("xformers").setLevel(logging.ERROR)

from torch.nn.attention import varlen  # noqa: E402
from xformers.ops import fmha  # noqa: E402
from xformers.ops.fmha import common, dispatch  # noqa: E402

from ablate.audio.loader import Batch, Normaliser  # noqa: E402
from ablate.core.records.messages import AttentionRequest  # noqa: E402,
from ablate.model.attention import KernelUnavailableError, attend, record_kernels  # noqa: E402
from ablate.model.codebook import ClusterTarget  # noqa: E402
from ablate.model.encoder import Encoder  # noqa: E402
from ablate.model.segments import Segments  # noqa: E402
from ablate.parts import build  # noqa: E402
from ablate.probing.features import FeatureExtractor, LocatedTokens  # noqa: E402
from ablate.probing.views import View  # noqa: E402
from ablate.training.augmentation import LabelledBatch  # noqa: E402
from ablate.training.batches import MaskedBatch  # noqa: E402
from ablate.training.checkpoint import Checkpoints  # noqa: E402
from ablate.training.distributed import Ranks  # noqa: E402
from ablate.training.finetuning import FineTuned, compute_finetuning_loss  # noqa: E402
from ablate.training.health import Health  # noqa: E402
from ablate.training.signals import StopSignal  # noqa: E402
from ablate.training.trainer import Trainer  # noqa: E402
from ablate.worker.attention_report import describe_attention  # noqa: E402
from ablate.worker.benchmarks.noise import NoiseBatches  # noqa: E402
from ablate.worker.train import build_trainer  # noqa: E402
from ablate.worker.trial import Trial  # noqa: E402
from ablate.worker.units import convert_sizes  # noqa: E402

DEVICE = torch.device("cuda:0")
kernels: collections.Counter[str] = collections.Counter()


def count_operators() -> None:
    """Counts the operators that xformers chooses, forward and backward, and calls of varlen."""
    if os.environ.get("ABLATE_NO_XFORMERS") == "1":
        common._built_with_cuda = False
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


def observe(cuda: fake_cuda.FakeCuda, work: Callable[[], object]) -> dict[str, Any]:
    """Does some work; returns what the device saw in it."""
    cuda.reset()
    kernels.clear()
    work()
    return {
        "kernels": dict(kernels),
        "waits": [f"{what} at {place}" for what, place in cuda.waits],
        "copies": cuda.num_copies,
        "pageable_copies": list(cuda.pageable_copies),
        "masked_attention": dict(cuda.masked_attention),
    }


def run_steps(settings: dict[str, Any]) -> dict[str, Any]:
    """Runs each kind of step of a trial; returns what the device saw, by kind."""
    trial = build(convert_sizes(settings), expect=Trial)
    # these read numbers, and not in every step
    Trainer.measure_health = lambda self: Health(1.0, 1.0)
    ClusterTarget.prepare = lambda self, draw, seed: None
    with fake_cuda.FakeCuda() as cuda:
        trainer = build_fake_trainer(trial)
        state = trainer.create_state()
        batch = trainer.drawer.draw(0).pin_memory()
        with record_kernels(served := {}):
            seen = {"training": observe(cuda, lambda: trainer.step(state, batch))}
        state.record_attention(served)
        again = build_fake_trainer(trial)
        resumed = again.create_state(tree_map(as_loaded, state.state_dict()))
        batch = again.drawer.draw(1).pin_memory()
        seen["resumed"] = observe(cuda, lambda: again.step(resumed, batch))
        extractor = build_extractor(trial, trainer.jepa.probed_encoder)
        seen["features"] = observe(cuda, lambda: extract(extractor, batch.batch))
        model = FineTuned(trainer.jepa.probed_encoder, "mean", extractor.grid, classes=3)
        model.head.to(DEVICE)
        seen["finetuning"] = observe(cuda, lambda: finetune(model, extractor, batch))
        return {
            **seen,
            "recorded": state.attention,
            "warnings": state.warnings,
            "explicit": request_xformers(),
            "doctor": describe_attention(AttentionRequest()).lines,
        }


def build_fake_trainer(trial: Trial) -> Trainer:
    checkpoints = Checkpoints(Path("unused"))
    return build_trainer(trial, NoiseBatches(trial), DEVICE, Ranks(), checkpoints, StopSignal())


def as_loaded(value: Any) -> Any:
    """Returns a tensor as a checkpoint gives it back: on the CPU."""
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, Tensor) else value


def build_extractor(trial: Trial, encoder: Encoder) -> FeatureExtractor:
    bands = trial.mel.bands
    return FeatureExtractor(
        encoder=encoder,
        patchifier=trial.patchifier,
        grid=trial.random_init.grid,
        crop_frames=trial.crop_frames,
        normaliser=Normaliser(np.zeros(bands, np.float32), np.ones(bands, np.float32)),
        device=DEVICE,
        precision=trial.optimizer.precision,
    )


def extract(extractor: FeatureExtractor, batch: Batch) -> None:
    """Computes features of clips up to their sums on the device, which the CPU then waits for."""
    encoded, packing = extractor.encode(batch)
    clips = torch.arange(len(batch.frames))
    located = LocatedTokens.locate(packing, clips, extractor.grid)
    located.sum_clips(encoded.tokens, [View("mean_std"), View("max")], len(clips))


def finetune(model: FineTuned, extractor: FeatureExtractor, batch: MaskedBatch) -> None:
    """Takes a step of fine-tuning without its optimiser."""
    labelled = LabelledBatch(batch.batch.mels, torch.zeros(len(batch.valid), 3), batch.valid)
    compute_finetuning_loss(model, labelled, extractor, batch.rng).backward()


def request_xformers() -> str:
    """Returns why attention by xformers, and by nothing else, cannot be had; empty if it can."""
    try:
        attend(*torch.zeros(3, 2, 1, 16, device=DEVICE), Segments((2,)), kernel="xformers")
    except KernelUnavailableError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    count_operators()
    print(json.dumps(run_steps(json.loads(Path(sys.argv[1]).read_text()))))  # noqa: T201
