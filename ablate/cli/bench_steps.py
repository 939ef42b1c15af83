"""What a training step costs here: `ablate bench steps`, for a study's variants or our own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.config import loader
from ablate.design import factors
from ablate.design import trials as design
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Ask, errand

MANY = 100_000  # steps: schedules do not end while a bench goes on
BATCHINGS = ("pack", "pad", "truncate_first", "truncate_random")
MEL = {"type": "ablate.audio.mel.LogMel", "bands": 128, "fft_size": 2048}
SIZES = {  # dim, layers and heads of encoder and predictor, and clips a step
    "cpu": ((192, 12, 3), (96, 4, 3), 16),  # a ViT-Tiny
    "cuda": ((768, 12, 12), (384, 6, 12), 256),  # a ViT-Base
}
MULTI_BLOCK: dict[str, Any] = {"type": "maskers.MultiBlock"}
RANDOM: dict[str, Any] = {"type": "maskers.Random", "ratio": 0.6}
COLUMNS = ("variant", "ms", "clips/s", "tokens/s", "h/h", "MFU", "MB", "context", "targets", "")


def steps(
    study: Path | None = None,
    *,
    device: str = "cpu",
    batch: int | None = None,
    seconds: float = 60.0,
    into: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Times the steps of a study's variants, or of our own; returns the exit code.

    `batch` replaces the clips of a step. It measures for about `seconds`. `into` is given what was
    measured, as JSON.
    """
    console = create_console()

    def act(ask: Ask) -> None:
        variants = _of(study) if study else _own(device.split(":")[0])
        for variant in variants:
            budget = variant["settings"].get("budget", {})
            variant["settings"]["budget"] = {**budget, "steps": MANY}
            if batch is not None:
                variant["settings"]["budget"]["batch"] = batch
        request = {"do": "time steps", "variants": variants, "device": device, "seconds": seconds}
        found = ask(request)
        told = summary(found)
        if into is not None:
            into.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        show(console, told)

    return errand(act, title="timing steps", console=console, command=command)


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to what was measured what it comes to, as factors of speed.

    One is that of packing over each other way to batch, one that of a step over a plain JEPA's.
    """
    kept = ("device", "threads", "torch", "ceiling_tflops", "steps", "kernels")
    took = {step["name"]: step["milliseconds"] for step in found["steps"] if not step["refused"]}
    packed = took.get("blocks, pack")
    gains = {
        name: took[f"blocks, {name}"] / packed
        for name in BATCHINGS[1:]
        if packed and f"blocks, {name}" in took
    }
    speeds = [
        step["milliseconds"] / took[step["beside"]] for step in found["steps"] if step["beside"]
    ]
    return {
        **{key: found[key] for key in kept},
        "packing_faster_than": gains,
        "speed_of_plain": speeds[0] if speeds else None,
    }


def show(console: Console, told: Mapping[str, Any]) -> None:
    """Prints what was measured."""
    table = Table(box=rich.box.SIMPLE_HEAD)
    for head in COLUMNS:
        table.add_column(head, justify="left" if head in ("variant", "") else "right")
    for step in told["steps"]:
        table.add_row(*map(Text, _cells(step)))
    console.print(table)
    for line in conclusions(told):
        print_line(console, line)


def conclusions(told: Mapping[str, Any]) -> list[str]:
    """Says in a few lines what the measurements come to."""
    ceilings = ", ".join(f"{v:.3g} TFLOP/s in {k}" for k, v in told["ceiling_tflops"].items())
    where = f"{told['device']}, {told['threads']} thread(s), torch {told['torch']}"
    kernels = ", ".join(f"{k['name']} {k['milliseconds']:.1f} ms" for k in told["kernels"])
    lines = [
        f"medians over alternating rounds on {where}; a step includes drawing, learning and "
        "bookkeeping; h/h: hours of audio per hour",
        f"MFU: relative to {ceilings}, reached by a matrix product in the same rounds",
        f"attention, forward and backward, on segments of unequal length: {kernels}",
    ]
    for name, gain in told["packing_faster_than"].items():
        lines.append(f"on blocks, packing is {gain:.2f} times as fast as {name}")
    if told["speed_of_plain"] is not None:
        lines.append(
            f"a step runs at {told['speed_of_plain']:.2f} times the speed of a plain dense JEPA "
            "that shows as many patches"
        )
    return lines


def _of(file: Path) -> list[dict[str, Any]]:
    """Lists a study's variants, with the settings of their first seed."""
    study = loader.load(file)
    trials = design.trials(study, factors.factors(study))
    first = [trial for trial in trials if trial.seed == trials[0].seed]
    return [{"name": trial.variant, "settings": dict(trial.settings)} for trial in first]


def _own(kind: str) -> list[dict[str, Any]]:
    """Lists variants of one model on ten seconds of sound, 8x64 patches."""
    encoder, predictor, batch = SIZES[kind]
    names = ("dim", "layers", "heads")
    settings = {
        "data": {"type": "ablate.audio.synthetic.Synthetic"},  # never heard: a bench runs on noise
        "mel": MEL,
        "crop_frames": 1024,
        "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
        "encoder": {"type": "ablate.model.vit.ViT", **dict(zip(names, encoder, strict=True))},
        "predictor": {
            "type": "ablate.model.predictor.Joint",
            **dict(zip(names, predictor, strict=True)),
        },
        "objective": {"type": "ablate.model.objectives.SmoothL1"},
        "budget": {"batch": batch},
        "optimizer": {"precision": "bf16" if kind == "cuda" else "fp32"},
        "seed": 0,
    }
    found = [("random, pack", RANDOM, "pack")]
    found += [(f"blocks, {name}", MULTI_BLOCK, name) for name in BATCHINGS]
    return [
        {"name": name, "settings": {**settings, "masker": masker, "batching": batching}}
        for name, masker, batching in found
    ]


def _cells(step: Mapping[str, Any]) -> list[str]:
    if step["refused"]:
        return [step["name"], *["-"] * (len(COLUMNS) - 2), f"refused: {step['refused']}"]
    memory = step["peak_memory_mb"]
    return [
        step["name"],
        f"{step['milliseconds']:.1f}",
        f"{step['clips_per_second']:.1f}",
        f"{step['tokens_per_second']:.0f}",
        f"{step['audio_hours_per_hour']:.0f}",
        f"{step['utilisation']:.0%}",
        "-" if memory is None else f"{memory:.0f}",
        f"{step['context']:.1f}",
        f"{step['targets']:.1f}",
        "",
    ]
