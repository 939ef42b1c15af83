"""Runs `ablate bench`: measures the cost of training steps and of masks in a worker."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.config import loader
from ablate.core.records.benchmarks import MaskerTimingsRequest, NamedTrial, StepTimingsRequest
from ablate.design import factors
from ablate.design import trials as design
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Query, list_maskers, parse_grid, query_worker

MAX_RATIO = 4.0  # limit for a masker not declared slow, in units of one plain draw
BLOCKS = "MultiBlock"  # the masker that the loop over samples is compared with
MANY_STEPS = 100_000  # so that schedules do not end during the benchmark
BATCHINGS = ("pack", "pad", "truncate_first", "truncate_random")
MEL = {"type": "ablate.audio.mel.LogMel", "bands": 128, "fft_size": 2048}
SIZES = {  # (dim, layers, heads) of the encoder and of the predictor, and clips per step
    "cpu": ((192, 12, 3), (96, 4, 3), 16),  # a ViT-Tiny
    "cuda": ((768, 12, 12), (384, 6, 12), 256),  # a ViT-Base
}
MULTI_BLOCK: dict[str, Any] = {"type": "maskers.MultiBlock"}
RANDOM: dict[str, Any] = {"type": "maskers.Random", "ratio": 0.6}
STEP_COLUMNS = (
    "variant", "ms", "drawing", "clips/s", "tokens/s", "h/h", "MFU", "MB", "context", "targets",
    "attention",
)  # fmt: skip


def benchmark_maskers(
    package: str,
    *,
    grid: str = "8x64",
    batch: int = 256,
    slow: bool = False,
    as_json: bool = False,
    command: Sequence[str] = COMMAND,
) -> int:
    """Times the maskers of a package against one plain draw each, and prints each as it is timed.

    Args:
        package: A package that lists maskers in `__all__`.
        grid: Patches in frequency x patches in time.
        batch: Clips per draw.
        slow: Whether maskers that are declared slow are timed, too.
        as_json: Whether to print JSON instead of a table.
        command: Starts the worker.

    Returns:
        The exit code.
    """
    console = Console(stderr=True) if as_json else create_console()

    def run(query: Query) -> None:
        sizes, maskers = parse_grid(grid), tuple(list_maskers(package, query))
        timings: list[Any] = []
        for masker in maskers:
            request = MaskerTimingsRequest(
                maskers=(masker,), grid=sizes, batch=batch, slow=slow, loop=False
            )
            timings += query(request).to_json()["maskers"]
            print_line(console, _describe_timing(timings[-1]))
        request = MaskerTimingsRequest(maskers=(), grid=sizes, batch=batch)
        measured = {**query(request).to_json(), "maskers": timings}
        summary = summarise_maskers(measured)
        if as_json:
            sys.stdout.write(json.dumps(summary, indent=1) + "\n")
            return
        console.print(_build_masker_table(measured))
        for line in describe_maskers(summary):
            print_line(console, line)

    return query_worker(run, title=f"timing {package}", console=console, command=command)


def summarise_maskers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the maskers above the limit, and the speed-up of a vectorised masker, to the results."""
    over = [masker["name"] for masker in measured["maskers"] if _is_over(masker)]
    blocks = [m["ratio"] for m in measured["maskers"] if m["name"] == BLOCKS and m["ratio"]]
    gain = measured["loop"]["ratio"] / blocks[0] if blocks else None
    kept = {key: measured[key] for key in ("grid", "batch", "maskers", "loop")}
    return {**kept, "limit": MAX_RATIO, "over": over, "blocks_faster_than_loop": gain}


def describe_maskers(summary: Mapping[str, Any]) -> list[str]:
    """Describes a summary of masker timings in a few lines."""
    lines = [
        f"ratio: time relative to one uniform rand and topk, measured in alternation, for "
        f"{summary['batch']} clips on {summary['grid']} patches, one thread; medians"
    ]
    if summary["over"]:
        names = ", ".join(summary["over"])
        lines.append(
            f"over {MAX_RATIO:g} times the plain draw without being declared slow: {names}"
        )
    if summary["blocks_faster_than_loop"] is not None:
        lines.append(
            f"a loop over samples takes {summary['loop']['milliseconds']:.1f} ms for equal blocks; "
            f"{BLOCKS} is {summary['blocks_faster_than_loop']:.0f} times as fast"
        )
    return lines


def _describe_timing(timing: Mapping[str, Any]) -> str:
    if timing["problem"]:
        return f"{timing['name']}: {timing['problem']}"
    if timing["ratio"] is None:
        return f"{timing['name']}: skipped, declared slow; `--slow` times it"
    return f"{timing['name']}: {timing['ratio']:.2f} times a plain draw"


def _is_over(masker: Mapping[str, Any]) -> bool:
    return (masker["ratio"] or 0.0) > MAX_RATIO and not masker["slow"]


def _build_masker_table(measured: Mapping[str, Any]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for head in ("masker", "ratio", "ms", ""):
        table.add_column(head, justify="right" if head in ("ratio", "ms") else "left")
    for masker in sorted(measured["maskers"], key=lambda masker: masker["ratio"] or 0.0):
        if masker["problem"]:
            cells = ["-", "-", f"problem: {masker['problem']}"]
        else:
            note = f"over {MAX_RATIO:g}" if _is_over(masker) else ""
            note = f"slow: {masker['slow']}" if masker["slow"] else note
            timed = masker["ratio"] is not None
            cells = [f"{masker[k]:.2f}" if timed else "-" for k in ("ratio", "milliseconds")]
            cells.append(note)
        table.add_row(*map(Text, (masker["name"], *cells)))
    return table


def benchmark_steps(
    study: Path | None = None,
    *,
    device: str = "cpu",
    batch: int | None = None,
    seconds: float = 60.0,
    output: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Times the training steps of a study's variants, and prints the results.

    Args:
        study: The study file; None times built-in variants.
        device: `cpu` or `cuda`.
        batch: Clips per step; None keeps those of the study.
        seconds: Approximate duration of the measurement.
        output: JSON file to write the results to.
        command: Starts the worker.

    Returns:
        The exit code.
    """
    console = create_console()

    def run(query: Query) -> None:
        variants = load_variants(study) if study else get_builtin_variants(device.split(":")[0])
        for variant in variants:
            budget = variant["settings"].get("budget", {})
            variant["settings"]["budget"] = {**budget, "steps": MANY_STEPS}
            if batch is not None:
                variant["settings"]["budget"]["batch"] = batch
        trials = tuple(NamedTrial(**variant) for variant in variants)
        request = StepTimingsRequest(variants=trials, device=device, seconds=seconds)
        summary = summarise_steps(query(request).to_json())
        if output is not None:
            output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        console.print(_build_step_table(summary))
        for line in describe_steps(summary):
            print_line(console, line)

    return query_worker(run, title="timing steps", console=console, command=command)


def summarise_steps(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Adds speed-ups to the results: of packing, and of a step over that of a plain JEPA."""
    kept = ("device", "threads", "torch", "ceiling_tflops", "steps", "kernels")
    times = {
        step["name"]: step["milliseconds"] for step in measured["steps"] if not step["problem"]
    }
    packed = times.get("blocks, pack")
    gains = {
        name: times[f"blocks, {name}"] / packed
        for name in BATCHINGS[1:]
        if packed and f"blocks, {name}" in times
    }
    speeds = [
        step["milliseconds"] / times[step["compared_with"]]
        for step in measured["steps"]
        if step["compared_with"]
    ]
    return {
        **{key: measured[key] for key in kept},
        "packing_faster_than": gains,
        "speed_of_plain": speeds[0] if speeds else None,
    }


def describe_steps(summary: Mapping[str, Any]) -> list[str]:
    """Describes a summary of step timings in a few lines."""
    ceilings = ", ".join(f"{v:.3g} TFLOP/s in {k}" for k, v in summary["ceiling_tflops"].items())
    machine = f"{summary['device']}, {summary['threads']} thread(s), torch {summary['torch']}"
    kernels = ", ".join(f"{k['name']} {k['milliseconds']:.1f} ms" for k in summary["kernels"])
    lines = [
        f"medians over alternating rounds on {machine}; a step includes training, bookkeeping and "
        "drawing, or is as slow as drawing if threads draw ahead; h/h: hours of audio per hour",
        f"MFU: relative to {ceilings}, reached by a matrix product in the same rounds",
        f"attention, forward and backward, on segments of unequal length: {kernels}",
    ]
    for name, gain in summary["packing_faster_than"].items():
        lines.append(f"on blocks, packing is {gain:.2f} times as fast as {name}")
    if summary["speed_of_plain"] is not None:
        lines.append(
            f"a step runs at {summary['speed_of_plain']:.2f} times the speed of a plain dense JEPA "
            "with as many visible patches"
        )
    return lines


def load_variants(file: Path) -> list[dict[str, Any]]:
    """Returns the variants of a study, with the settings of their first seed."""
    study = loader.load(file)
    trials = design.build_trials(study, factors.build_factors(study))
    first = [trial for trial in trials if trial.seed == trials[0].seed]
    return [{"name": trial.variant, "settings": dict(trial.settings)} for trial in first]


def get_builtin_variants(kind: str) -> list[dict[str, Any]]:
    """Returns variants of one model for clips of ten seconds, on 8x64 patches."""
    encoder, predictor, batch = SIZES[kind]
    names = ("dim", "layers", "heads")
    settings = {
        "data": {"type": "ablate.audio.synthetic.Synthetic"},  # not used: benchmarks run on noise
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
    variants = [("random, pack", RANDOM, "pack")]
    variants += [(f"blocks, {name}", MULTI_BLOCK, name) for name in BATCHINGS]
    return [
        {"name": name, "settings": {**settings, "masker": masker, "batching": batching}}
        for name, masker, batching in variants
    ]


def _build_step_table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for head in STEP_COLUMNS:
        table.add_column(head, justify="left" if head in ("variant", "attention") else "right")
    for step in summary["steps"]:
        table.add_row(*map(Text, _format_step(step)))
    return table


def _format_step(step: Mapping[str, Any]) -> list[str]:
    if step["problem"]:
        return [step["name"], *["-"] * (len(STEP_COLUMNS) - 2), f"problem: {step['problem']}"]
    memory, drawing = step["peak_memory_mb"], step["drawing_milliseconds"]
    return [
        step["name"],
        f"{step['milliseconds']:.1f}",
        "-" if drawing is None else f"{drawing:.1f}",
        f"{step['clips_per_second']:.1f}",
        f"{step['tokens_per_second']:.0f}",
        f"{step['audio_hours_per_hour']:.0f}",
        f"{step['utilisation']:.0%}",
        "-" if memory is None else f"{memory:.0f}",
        f"{step['context']:.1f}",
        f"{step['targets']:.1f}",
        ", ".join(step["attention"]),
    ]
