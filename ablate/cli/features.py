"""Runs `ablate features`: a worker computes features of audio files by a trained encoder."""

from collections.abc import Sequence
from pathlib import Path

from ablate.core.records.messages import FeaturesRequest
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.study.worker_query import Query, query_worker


def compute_features(request: FeaturesRequest, *, command: Sequence[str] = COMMAND) -> int:
    """Has a worker write the table, and prints what it holds; returns the exit code."""
    console = create_console()

    def run(query: Query) -> None:
        reply = query(request)
        print_line(
            console, f"wrote {request.table}: {reply.files} files, {reply.dim} features each"
        )
        for path, reason in reply.bad_files:
            print_line(console, f"left out {path}: {reason}")

    return query_worker(run, title="computing features", console=console, command=command)


def find_encoder(name: str) -> Path:
    """Returns the folder of an exported encoder, or of a run by its name or first characters."""
    from ablate.cli.options import find_run_folder

    folder = Path(name)
    return folder if (folder / "encoder.json").is_file() else find_run_folder(name)
