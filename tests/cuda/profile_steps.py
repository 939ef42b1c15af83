"""Prints where five training steps of a ViT-Base spend their time on a GPU, and its idle share."""

import sys
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ablate.cli.bench import get_builtin_variants
from ablate.parts import build
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.signals import StopSignal
from ablate.worker.benchmarks.noise import NoiseBatches
from ablate.worker.train import build_trainer
from ablate.worker.trial import Trial

STEPS = 5

settings = get_builtin_variants("cuda")[0]["settings"]
settings["budget"]["steps"] = 1000
trial = build(settings, expect=Trial)
device = torch.device("cuda:0")
trainer = build_trainer(
    trial, NoiseBatches(trial), device, Ranks(), Checkpoints(Path("unused")), StopSignal()
)
state = trainer.create_state()
batch = trainer.drawer.draw(0).pin_memory()
for _ in range(3):
    trainer.step(state, batch)
torch.cuda.synchronize()
started = time.perf_counter()
with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
    for _ in range(STEPS):
        trainer.step(state, batch)
    torch.cuda.synchronize()
elapsed = time.perf_counter() - started
events = profiler.key_averages()
busy = sum(event.self_device_time_total for event in events) / 1e6
sys.stdout.write(events.table(sort_by="self_device_time_total", row_limit=25) + "\n")
sys.stdout.write(f"{1000 * elapsed / STEPS:.1f} ms a step, device idle {1 - busy / elapsed:.0%}\n")
