"""Does a part of a study in a job of a cluster: `python -m ablate.study.job SNAPSHOT TASK`.

The study is read from a snapshot, so that edits of its file change nothing in the queue.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ablate.config.snapshot import StudySnapshot
from ablate.executors.local import Pool
from ablate.executors.progress import create_console, print_line, replace_unencodable
from ablate.executors.worker import COMMAND
from ablate.runs import store
from ablate.study import corpora
from ablate.study.exit_codes import DONE, interrupt_on_signals, run_with_exit_code
from ablate.study.prepare import apply_sweep, check_settings, prepare

SWEEP = "sweep"


def run_job(
    snapshot: Path,
    task: str,
    *,
    num_parts: int = 1,
    num_workers: int = 1,
    cache: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Runs one job of a study.

    Args:
        snapshot: the study as it was submitted.
        task: `sweep` evaluates points until none is left; `decode` decodes one of `num_parts` parts
            of the clips, the one that SLURM's array names; `join` joins them, and decodes what
            they lack.
        num_parts: number of parts.
        num_workers: trials that are trained at once.
        cache: folder of decoded clips; by default, that of this process's environment.
        command: the command that starts a worker.

    Returns:
        The exit code, one of `ablate.study.exit_codes`.
    """
    console, folders = create_console(), store.get_folders()

    def run() -> int:
        study = StudySnapshot.read(snapshot).load()
        with Pool(cache or folders.cache, size=num_workers, command=command) as pool:
            if task == SWEEP:
                apply_sweep(prepare(study, pool, console), pool, folders, console)
                return DONE
            number = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
            part = (number, num_parts) if task == corpora.DECODE else None
            trials = check_settings(study, pool, console)
            stores = corpora.decode(study, trials, pool, console, part=part)
        for one in stores:
            print_line(console, f"{one.folder}: {one.clips} clips, {one.bad} cannot be used")
        return DONE

    return run_with_exit_code(run)


def main() -> int:
    """Runs the job that the command line describes; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ablate.study.job", description=__doc__)
    parser.add_argument("snapshot", type=Path, help="the study as it was submitted")
    parser.add_argument("task", choices=(SWEEP, corpora.DECODE, corpora.JOIN))
    parser.add_argument("--parts", type=int, default=1, help="number of parts of the clips")
    parser.add_argument("--workers", type=int, default=1, help="trials that are trained at once")
    parser.add_argument("--cache", type=Path, help="folder of decoded clips")
    arguments = parser.parse_args()
    replace_unencodable()
    interrupt_on_signals()
    return run_job(
        arguments.snapshot,
        arguments.task,
        num_parts=arguments.parts,
        num_workers=arguments.workers,
        cache=arguments.cache,
    )


if __name__ == "__main__":
    sys.exit(main())
