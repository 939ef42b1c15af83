"""Runs `ablate bench peers`: compares training steps with those of other code in a worker."""

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablate.cli.bench import MANY_STEPS, MULTI_BLOCK, get_builtin_variants
from ablate.core.records.benchmarks import (
    NamedTrial,
    PeerTiming,
    PeerTimingsReply,
    PeerTimingsRequest,
)
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Query, query_worker

BATCH = 16
NARROW = {"dim": 64, "layers": 2, "heads": 2}  # encoder and predictor of the small model
SMALL_MEL = {"bands": 64, "frames": 128}
PER_TARGET = "ablate.model.predictor.PerTarget"
COLUMNS = ("ablate", "compared with", "per", "times faster", "95 %", "rounds", "ms", "context")
TEXT_COLUMNS = COLUMNS[:3]


def benchmark_peers(
    folder: Path,
    *,
    device: str = "cpu",
    seconds: float = 120.0,
    as_json: bool = False,
    command: Sequence[str] = COMMAND,
) -> int:
    """Compares training steps with those of other code, and prints the results.

    Args:
        folder: Holds the checkouts `ijepa` and `Audio-JEPA`.
        device: `cpu` or `cuda`.
        seconds: Approximate duration of the measurement of each size of model.
        as_json: Whether to print JSON instead of tables.
        command: Starts the worker.

    Returns:
        The exit code.
    """
    console = Console(stderr=True) if as_json else create_console()

    def run(query: Query) -> None:
        sizes = build_sizes(device.split(":")[0])
        request = PeerTimingsRequest(
            folder=folder.absolute(), sizes=sizes, device=device, seconds=seconds
        )
        reply = query(request)
        for problem in reply.problems:
            print_line(console, problem)
        if as_json:
            sys.stdout.write(json.dumps(reply.to_json(), indent=1) + "\n")
            return
        for size in sizes:
            console.print(_build_table(size, [t for t in reply.timings if t.size == size]))
        print_line(console, describe_measurement(reply))

    return query_worker(run, title="timing peers", console=console, command=command)


def build_sizes(kind: str) -> dict[str, tuple[NamedTrial, ...]]:
    """Returns our variants for a small model and for the built-in one, by the name of the size.

    `kind` is that of the device, `cpu` or `cuda`.
    """
    large = get_builtin_variants(kind)[0]["settings"]
    large["budget"] = {"batch": BATCH if kind == "cpu" else large["budget"]["batch"]}
    small = deepcopy(large)
    small["mel"]["bands"], small["crop_frames"] = SMALL_MEL["bands"], SMALL_MEL["frames"]
    small["encoder"] |= NARROW
    small["predictor"] |= NARROW
    models = (("4x8 patches", small), ("8x64 patches", large))
    return {
        f"{_describe_model(settings)} on {grid}": _build_variants(settings)
        for grid, settings in models
    }


def describe_measurement(reply: PeerTimingsReply) -> str:
    """Describes what the numbers mean, and where they were measured."""
    kind = "CPU time" if reply.device == "cpu" else "wall-clock time without drawing"
    return (
        f"times faster: the other's {kind} over ours, median over alternating rounds and its 95 % "
        f"interval; ms: ours and theirs; context: visible patches of a clip, ours and theirs; "
        f"batches of {reply.batch} in {reply.precision} on {reply.device}, "
        f"{reply.threads} thread(s), torch {reply.torch}"
    )


def _describe_model(settings: dict[str, Any]) -> str:
    return f"{settings['encoder']['dim']} x {settings['encoder']['layers']}"


def _build_variants(settings: dict[str, Any]) -> tuple[NamedTrial, ...]:
    settings = {**settings, "budget": {**settings["budget"], "steps": MANY_STEPS}}
    per_target = {**settings["predictor"], "type": PER_TARGET}
    blocks = {**settings, "masker": MULTI_BLOCK, "predictor": per_target}
    return (
        NamedTrial(name="random", settings=settings),
        NamedTrial(name="blocks, per target", settings=blocks),
    )


def _build_table(size: str, timings: Sequence[PeerTiming]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, title=size)
    for head in COLUMNS:
        table.add_column(head, justify="left" if head in TEXT_COLUMNS else "right")
    for timing in timings:
        table.add_row(*map(Text, _format_timing(timing)))
    return table


def _format_timing(timing: PeerTiming) -> list[str]:
    low, high = timing.interval
    return [
        timing.ours,
        timing.peer,
        timing.per,
        f"{timing.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        str(timing.rounds),
        f"{timing.milliseconds:.1f}, {timing.peer_milliseconds:.1f}",
        f"{timing.context:.1f}, {timing.peer_context:.1f}",
    ]
