"""Runs one run folder, `python -m ablate.worker RUN_DIR`, or serves requests, `--worker`.

With `--ranks 2`, or started by `torchrun`, several processes train the run together.

With `--worker` the process reads requests from its standard input, one per line, and writes its
replies to standard output, so that short trials do not import torch again.
"""

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TextIO

import torch

from ablate.core.device import limit_memory
from ablate.core.io import read_json
from ablate.core.records.messages import REQUESTS, ErrorReply, ProgressMessage, ReadyMessage
from ablate.core.records.plan import EvaluatePlan, read_evaluate
from ablate.core.records.planning import SettingProblem
from ablate.core.records.protocol import Message, parse_message
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
from ablate.worker.dispatch import handle_request
from ablate.worker.text_progress import TextProgress


def serve(requests: TextIO, replies: TextIO, stop: StopSignal, cache: Path) -> None:
    """Serves requests, one per line, until the input ends or a signal to stop was received.

    A `PartError` becomes an `ErrorReply`; any other exception of a request ends the worker. If the
    process that reads the replies has died, training stops as for a signal. `cache` is the folder
    of decoded clips.
    """

    def send(message: Message) -> None:
        try:
            replies.write(message.to_line())
            replies.flush()
        except BrokenPipeError:
            stop.receive(signal.SIGPIPE)

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    send(ReadyMessage(gpus=gpus, torch=torch.__version__))
    for line in requests:
        try:
            send(handle_request(parse_message(line, REQUESTS), cache, send, stop))
        except PartError as error:
            problems = [SettingProblem(path=p.path, message=p.message) for p in error.problems]
            send(ErrorReply(problems=tuple(problems)))
        if stop.signal:
            return


def main() -> int:
    """Runs one folder, or serves requests; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ablate.worker", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="a run folder with a config.json")
    parser.add_argument("--worker", action="store_true", help="serve requests on standard input")
    parser.add_argument("--probes", type=Path, help="JSON file: settings of the probes, by name")
    parser.add_argument(
        "--evaluate", type=_parse_evaluate, help="JSON: settings of the online probe"
    )
    parser.add_argument("--device", default="cpu", help="device to train on: cpu, cuda:0 or auto")
    parser.add_argument("--text", action="store_true", help="print progress for people, not JSON")
    parser.add_argument(
        "--ranks", type=int, default=1, help="number of processes that train together"
    )
    parser.add_argument("--until", type=int, help="step at which to pause and to score")
    parser.add_argument(
        "--memory-share", type=float, default=1.0, help="share of the GPU's memory that it may use"
    )
    parser.add_argument("--locked", action="store_true", help="the caller has locked the run")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="end when standard input ends"
    )
    cache = os.environ.get("ABLATE_CACHE", "cache")
    parser.add_argument("--cache", type=Path, default=Path(cache), help="folder of decoded clips")
    arguments = parser.parse_args()
    # One thread per process: two trials in parallel are faster than two threads, which wait for
    # each other on small models; and another order of summation would change the results.
    torch.set_num_threads(1)
    stop = StopSignal()
    stop.install()
    if arguments.end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    if arguments.worker:
        # what a library prints must not come between the replies
        replies = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        try:
            serve(sys.stdin, replies, stop, arguments.cache)
        finally:
            with suppress(BrokenPipeError):  # nobody reads what is left in the buffer
                replies.close()
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

    is_helper = os.environ.get("RANK", "0") != "0"
    # the first rank may already be training, and would report a rank that a signal ended as lost
    with stop.deferred() if is_helper else nullcontext():
        has_gpu = arguments.device == "auto" and torch.cuda.is_available()
        name = arguments.device.replace("auto", "cuda:0" if has_gpu else "cpu")
        device = get_rank_device(name)
        if arguments.memory_share < 1:
            limit_memory(device, arguments.memory_share)
        ranks = Ranks.join(device)
        emit = TextProgress() if arguments.text else _print_progress
        context = RunContext(device, arguments.cache, emit, stop, ranks, arguments.until)
        try:
            if is_helper:
                run_helper_rank(arguments.folder, context)
                return 0
            return _run_first_rank(arguments, context)
        except StoppedError:  # the first rank reports it
            return 1
        finally:
            ranks.leave()


def _run_first_rank(arguments: argparse.Namespace, context: RunContext) -> int:
    """Runs a folder alone, or as the first of its ranks, and prints how it ended."""
    from ablate.worker.run import run

    folder = arguments.folder
    probes = read_json(arguments.probes) if arguments.probes else {}
    with nullcontext(enter_result=True) if arguments.locked else acquire_run(folder) as acquired:
        if not acquired:
            sys.stderr.write(f"{folder} is being run by another process; nothing was done\n")
            return 1
        reply = run(folder, probes, context, arguments.evaluate)
    reason = f": {reply.reason}" if reply.reason else ""
    sys.stdout.write(f"{reply.state}{reason}\n" if arguments.text else reply.to_line())
    return 0 if reply.state in ("done", "paused") else 1


def _end_with_stdin() -> None:
    """Ends this process when its standard input ends: the process that locked the run is gone."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _parse_evaluate(text: str) -> EvaluatePlan | None:
    return read_evaluate(json.loads(text))


def _print_progress(progress: ProgressMessage) -> None:
    sys.stderr.write(progress.to_line())
