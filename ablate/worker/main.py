"""The door to the workshop: `python -m ablate.worker RUN_DIR` runs what is missing in a run folder.

With `--ranks 2`, or started by `torchrun`, several processes train it together.

With `--worker` it stays open: it reads requests from its standard input, a JSON object a line,
and answers on its standard output in the same way, so that a small trial pays for no import.
"""

import argparse
import json
import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

import torch

from ablate.core.io import read_json
from ablate.core.records.plan import EvaluatePlan, read_evaluate
from ablate.parts import PartError
from ablate.runs.lock import acquire_run
from ablate.training.distributed import (
    Ranks,
    build_torchrun_command,
    get_rank_device,
    set_ranks_from_slurm,
)
from ablate.training.signals import StoppedError, StopSignal
from ablate.worker.context import RunContext
from ablate.worker.dispatch import answer


def serve(requests: TextIO, answers: TextIO, stop: StopSignal) -> None:
    """Answers requests, a JSON object a line, until there are no more, or until told to stop.

    A `PartError` is answered as an event; whatever else a request raises ends the worker.
    """

    def emit(event: dict[str, Any]) -> None:
        answers.write(json.dumps(event) + "\n")
        answers.flush()

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    emit({"event": "ready", "gpus": gpus, "torch": torch.__version__})
    for line in requests:
        try:
            emit({"event": "result", **answer(json.loads(line), emit, stop)})
        except PartError as error:
            problems = [{"path": list(p.path), "message": p.message} for p in error.problems]
            emit({"event": "error", "problems": problems})
        if stop.signal:
            return


def main() -> int:
    """Runs one folder, or serves; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ablate.worker", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a run folder with a config.json")
    parser.add_argument("--worker", action="store_true", help="serve requests on standard input")
    parser.add_argument("--probes", type=Path, help="JSON: the probes that score it, by name")
    parser.add_argument(
        "--evaluate", type=_parse_evaluate, help="JSON: how to score during training"
    )
    parser.add_argument("--device", default="cpu", help="where to train: cpu, cuda:0")
    parser.add_argument(
        "--ranks", type=int, default=1, help="processes to train with, on this machine"
    )
    parser.add_argument("--until", type=int, help="a step at which to pause and score")
    parser.add_argument("--held", action="store_true", help="the caller already holds the run")
    parser.add_argument("--leashed", action="store_true", help="end when standard input does")
    cache = os.environ.get("ABLATE_CACHE", "cache")
    parser.add_argument("--cache", type=Path, default=Path(cache), help="decoded clips")
    arguments = parser.parse_args()
    # one thread a process, on a CPU and beside a GPU: two trials side by side beat two threads,
    # which on small models wait for one another, and sums taken in another order would make two
    # machines disagree
    torch.set_num_threads(1)
    stop = StopSignal()
    stop.install()
    if arguments.leashed:
        threading.Thread(target=_end_with_input, daemon=True).start()
    if arguments.worker:
        # whatever a library prints must not land between the answers
        with os.fdopen(os.dup(1), "w") as answers:
            os.dup2(2, 1)
            serve(sys.stdin, answers, stop)
        return 0
    if arguments.folder is None:
        parser.error("name a run folder, or pass --worker")
    if arguments.ranks > 1 and "RANK" not in os.environ:
        command = build_torchrun_command(arguments.ranks, "ablate.worker", sys.argv[1:])
        os.execv(command[0], command)
    set_ranks_from_slurm()
    return run_folder(arguments, stop)


def run_folder(arguments: argparse.Namespace, stop: StopSignal) -> int:
    """Runs what is missing in a folder, alone or as one of several ranks; returns the exit code."""
    from ablate.worker.run import run_helper_rank

    helping = os.environ.get("RANK", "0") != "0"
    # by then the first rank may train, and would take one that a signal ended for lost
    with stop.deferred() if helping else nullcontext():
        device = get_rank_device(arguments.device)
        ranks = Ranks.join(device)
        context = RunContext(device, arguments.cache, _show, stop, ranks, arguments.until)
        try:
            if helping:
                run_helper_rank(arguments.folder, context)
                return 0
            return _lead(arguments, context)
        except StoppedError:  # the first rank says so
            return 1
        finally:
            ranks.leave()


def _lead(arguments: argparse.Namespace, context: RunContext) -> int:
    """Runs a folder alone, or as the first of its ranks, and shows how it ended."""
    from ablate.worker.run import run

    folder = arguments.folder
    probes = read_json(arguments.probes) if arguments.probes else {}
    with nullcontext(enter_result=True) if arguments.held else acquire_run(folder) as mine:
        if not mine:
            sys.stderr.write(f"{folder} is being run by another process; nothing was done\n")
            return 1
        ended = run(folder, probes, context, arguments.evaluate)
    sys.stdout.write(json.dumps(ended) + "\n")
    return 0 if ended["state"] in ("done", "paused") else 1


def _end_with_input() -> None:
    """Ends this process at once when its standard input does: whoever holds the run is gone."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _parse_evaluate(text: str) -> EvaluatePlan | None:
    return read_evaluate(json.loads(text))


def _show(event: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(event) + "\n")
