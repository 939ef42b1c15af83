"""Runs `ablate bench loader`: measures in a worker how fast batches are loaded."""

from collections.abc import Sequence
from pathlib import Path

import rich.box
from rich.table import Table

from ablate.cli.bench import MANY_STEPS, get_builtin_variants, load_variants
from ablate.core.records.benchmarks import LoaderTimingsReply, LoaderTimingsRequest, NamedTrial
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Query, query_worker


def benchmark_loader(
    study: Path | None = None,
    *,
    device: str = "cpu",
    batch: int | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Times how fast the batches of a trial are loaded, and prints the results.

    Args:
        study: A study, whose first variant is loaded; by default 10-second clips.
        device: `cpu` or `cuda`, where the clips are normalised.
        batch: Clips per step; by default as in the study.
        command: Starts the worker.

    Returns:
        The exit code.
    """
    console = create_console()

    def run(query: Query) -> None:
        variant = (load_variants(study) if study else get_builtin_variants(device.split(":")[0]))[0]
        settings = variant["settings"]
        settings["budget"] = {**settings.get("budget", {}), "steps": MANY_STEPS}
        if batch is not None:
            settings["budget"]["batch"] = batch
        trial = NamedTrial(name=variant["name"], settings=settings)
        reply = query(LoaderTimingsRequest(trial=trial, device=device))
        console.print(_build_table(reply))
        print_line(
            console,
            f"batches of {reply.batch} clips of {reply.frames} frames and {reply.bands} bands; "
            "medians in wall-clock time; `ablate bench steps` says how many clips a device trains",
        )

    return query_worker(run, title="timing the loader", console=console, command=command)


def _build_table(reply: LoaderTimingsReply) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for head in ("", "ms", "clips/s"):
        table.add_column(head, justify="right" if head else "left")
    for timing in reply.timings:
        table.add_row(timing.name, f"{timing.milliseconds:.1f}", f"{timing.clips_per_second:,.0f}")
    return table
