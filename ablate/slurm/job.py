"""Runs the run folders of one SLURM job: `python -m ablate.slurm.job SPEC`.

Each trial is a process of its own; the specification says how many run side by side. On SIGUSR1 or
SIGUSR2 (time limit or preemption) the job lets its trials save a checkpoint and requeues itself. On
SIGTERM (cancelled, or requeued from outside) it only lets them save a checkpoint.
"""

import argparse
import collections
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from ablate.core.records.jobs import CanaryFailure, EndMark, JobSpec
from ablate.core.records.run import RunRecord
from ablate.runs import store
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.runs.lock import PATIENCE_SECONDS, acquire_run
from ablate.runs.rebuild import has_result, read_environment
from ablate.runs.record import OutsideEnd, count_attempts, read_record, replace_end
from ablate.slurm import canary
from ablate.slurm.node_check import check_node
from ablate.slurm.reconcile import get_end_mark
from ablate.slurm.requeue import REQUEUE_SIGNALS, print_line, requeue

LOCK_SECONDS = 60.0  # how long to wait for a run that another process has locked
POLL_SECONDS = 0.1
MAX_LINES = 20  # lines of a trial's output that are kept in memory
SAVE_SHARE = 0.7  # share of the seconds between warning and end in which a trial must save


class Job:
    """Runs the trials of one job and handles the signals that SLURM sends it.

    Args:
        spec: the specification with which the job was submitted.
        home: folder of the submission.
        pack: run folders of this job.
    """

    def __init__(self, spec: JobSpec, home: Path, pack: list[str]) -> None:
        self._spec = spec
        self._home = home
        self._pack = [Path(folder) for folder in pack]
        self._trials: list[subprocess.Popen[str]] = []  # those that run now
        self._out_of_memory: set[Path] = set()  # runs to be tried again without others beside them
        self._lost_node = False  # this node cannot go on
        self.signal: signal.Signals | None = None  # the first that was received

    def install_handlers(self) -> None:
        """Installs the signal handlers; call it once, in the main thread."""
        for number in (*REQUEUE_SIGNALS, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_signal)
        signal.signal(signal.SIGALRM, self._kill_trial)

    def run(self) -> bool:
        """Runs the unfinished runs of the pack; returns whether all of the pack is done."""
        todo = collections.deque(f for f in self._pack if not self._get_mark(f).exists())
        if self._at_once == 1:
            self._run_all(todo)
        else:  # signal handlers run in this thread, which only waits
            with ThreadPoolExecutor(self._at_once) as executor:
                for thread in [executor.submit(self._run_all, todo) for _ in range(self._at_once)]:
                    thread.result()
            alone = collections.deque(sorted(self._out_of_memory))
            self._run_all(alone)
            for folder in alone:  # there was no time to try these again
                replace_end(folder, "preempted", "out of memory beside other trials")
        if self.signal in REQUEUE_SIGNALS and not all(
            self._get_mark(folder).exists() for folder in self._pack
        ):
            self._requeue()
        marks = [EndMark.find(self._get_mark(folder)) for folder in self._pack]
        return all(mark is not None and mark.state == "done" for mark in marks)

    @property
    def _at_once(self) -> int:
        """The number of trials that run side by side; those of a canary never do."""
        return 1 if self._spec.canary is not None else self._spec.at_once

    def _run_all(self, todo: "collections.deque[Path]") -> None:
        """Runs folders until none is left, time is up, or this node cannot go on."""
        while not (self.signal or self._lost_node):
            try:
                folder = todo.popleft()
            except IndexError:
                return
            self._run(folder)
            if store.read_status(folder).state == "preempted":
                self._lost_node = True

    def _run(self, folder: Path) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while not self.signal:
            lock = acquire_run(
                folder, patience=get_patience(folder), stopped=lambda: bool(self.signal)
            )
            with lock as is_acquired:
                if is_acquired:
                    self._run_locked(folder)
                    return
            if time.monotonic() > deadline:
                print_line(f"{folder} is being run by another process; skipped")
                return
            time.sleep(POLL_SECONDS)

    def _run_locked(self, folder: Path) -> None:
        status = store.read_status(folder)
        trained = not has_result(folder)
        probes = json.loads(Path(self._spec.probes).read_text())
        if status.state != "done" or store.find_missing_probes(folder, probes):
            is_canary = self._spec.canary is not None
            if is_canary:
                (folder / HEARTBEAT_FILE).unlink(missing_ok=True)  # left if the canary was requeued
                self._train(folder, interrupted=True)
            if not (is_canary and store.read_status(folder).state == "failed"):
                self._train(folder)
            status = store.read_status(folder)
        scored = status.state == "done" and not store.find_missing_probes(folder, probes)
        may_share = self._at_once > 1 and folder not in self._out_of_memory
        if status.failure == "oom" and may_share:
            print_line(f"{folder.name}: out of memory; it is tried again by itself")
            self._out_of_memory.add(folder)
            return
        # a trained run is *done* even if the job was signalled while it was being scored
        unscored = status.state == "done" and not self.signal
        if scored or unscored or status.state == "failed":
            mark = EndMark(state="done" if scored else "failed", trained=trained)
            mark.write(self._get_mark(folder))

    def _train(self, folder: Path, *, interrupted: bool = False) -> None:
        """Runs a trial's process, and records its end if the process could not do so itself."""
        before, num_attempts = read_record(folder), count_attempts(folder)
        spec = self._spec
        command = [*spec.step, sys.executable, "-P", "-m", "ablate.worker", str(folder)]
        command += ["--probes", spec.probes, "--device", spec.device]
        command += ["--cache", spec.cache, "--locked"]
        command += ["--evaluate", json.dumps(spec.evaluate and asdict(spec.evaluate))]
        if self._at_once > 1 and folder not in self._out_of_memory:
            command += ["--memory-share", str(1 / self._at_once)]
        trial = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
        self._trials.append(trial)
        if self.signal:  # received while the process was being started
            _send_signal(trial, self.signal)
        if interrupted:
            threading.Thread(target=_interrupt, args=(folder, trial), daemon=True).start()
        lines: list[str] = []
        assert trial.stdout is not None
        with trial.stdout as output:
            for line in output:
                print_line(
                    f"{folder.name}: {line}".rstrip() if self._at_once > 1 else line.rstrip()
                )
                lines = [*lines[1 - MAX_LINES :], line.strip()]
        code = trial.wait()
        self._trials.remove(trial)
        if not self._trials:
            signal.alarm(0)
        has_started = count_attempts(folder) > num_attempts
        self._complete_record(folder, before, code, lines, has_started=has_started)

    def _complete_record(
        self, folder: Path, before: RunRecord, code: int, lines: list[str], *, has_started: bool
    ) -> None:
        after = read_record(folder)
        state = after.state
        if self.signal:  # a done run stays done, even if it was being scored again
            if state != "done" and (state not in ("failed", "preempted") or after == before):
                replace_end(folder, "preempted", f"{self.signal.name} between two stages")
        elif after == before or state == "running":
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            last = next((line for line in reversed(lines) if line[:1] != "{"), "no output")
            if not has_started:  # says nothing about the trial: a module is missing here
                reason = f"node: no trial starts on {socket.gethostname()} ({how}): {last}"
                replace_end(folder, "preempted", reason)
                return
            kind = "oom" if code == -signal.SIGKILL else "error"
            reason = f"{kind}: the trial's process ended with {how}: {last}"
            replace_end(folder, "failed", reason)

    def _requeue(self) -> None:
        assert self.signal is not None
        problem = requeue(self.signal, self._spec.max_requeues)
        for folder in self._pack:
            if problem is not None and not self._get_mark(folder).exists():
                state: OutsideEnd = "failed" if problem.is_final else "preempted"
                replace_end(folder, state, problem.reason)
                if problem.is_final:
                    EndMark(state="failed").write(self._get_mark(folder))

    def _get_mark(self, folder: Path) -> Path:
        return get_end_mark(self._home, folder)

    def _handle_signal(self, number: int, frame: object) -> None:
        self.signal = self.signal or signal.Signals(number)
        signal.alarm(max(1, int(SAVE_SHARE * self._spec.signal_seconds)))
        self._forward(signal.Signals(number))

    def _forward(self, number: signal.Signals) -> None:
        for trial in [*self._trials]:
            _send_signal(trial, number)

    def _kill_trial(self, number: int, frame: object) -> None:
        """Kills a trial that does not stop; it resumes from its last periodic checkpoint."""
        self._forward(signal.SIGKILL)


def get_patience(folder: Path) -> float:
    """Returns for how many seconds to watch the heartbeat of a run that another machine had.

    0 if the last attempt was made by this very job before a requeue: SLURM restarts a job only
    after its processes have ended. A process that survives the failure of its node stops by
    itself, because its attempt is no longer the latest.
    """
    last = read_environment(folder).slurm
    names = ("SLURM_JOB_ID", "SLURM_JOB_NAME")  # both: a reinstalled cluster reuses numbers
    is_own = all(name in last and last[name] == os.environ.get(name) for name in names)
    return 0.0 if is_own else PATIENCE_SECONDS


def _send_signal(trial: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if trial.poll() is None:
            trial.send_signal(number)


def _interrupt(folder: Path, trial: subprocess.Popen[str]) -> None:
    """Signals a canary's trial to stop once it trains, so that it must save and resume.

    It trains from its first heartbeat on; before that, a signal would kill it at once.
    """
    while trial.poll() is None:
        if (folder / HEARTBEAT_FILE).exists():
            trial.send_signal(signal.SIGUSR1)
            return
        time.sleep(POLL_SECONDS)


def main() -> int:
    """Runs the pack of this task of an array; returns the exit code, 0 if all of it is done."""
    parser = argparse.ArgumentParser(prog="python -m ablate.slurm.job", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: packs of run folders, and how to run them")
    parser.add_argument("--doctor", action="store_true", help="only check whether a worker starts")
    arguments = parser.parse_args()
    file = arguments.spec
    if arguments.doctor:
        check_node().write(file)
        return 0
    spec = JobSpec.read(file)
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))
    if spec.canary is not None:
        try:
            pack = canary.prepare(file.parent, spec.canary, spec.cache)
        except ValueError as error:
            CanaryFailure(reason=str(error)).write(file.parent / canary.FAILURE_FILE)
            return 1
    else:
        assert spec.packs is not None, "a specification has packs or a canary"
        pack = spec.packs[index]
    job = Job(spec, file.parent, pack)
    job.install_handlers()
    return 0 if job.run() else 1


if __name__ == "__main__":
    sys.exit(main())
