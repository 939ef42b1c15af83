"""What a job runs: `python -m ablate.slurm.job SPEC` works through one pack of run folders.

Each trial is a process of its own. A job that is told to stop by USR1 or USR2 (its time limit, or
preemption) lets the trial save itself and queues itself again; told by TERM (somebody cancelled
it, or the site requeues it), it only lets the trial save itself.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ablate.core.records.jobs import CanaryFailure, EndMark, JobSpec, NodeReport
from ablate.core.records.messages import ReadyMessage
from ablate.core.records.protocol import parse_message
from ablate.core.records.record import FormatError
from ablate.core.records.run import Environment, RunRecord
from ablate.runs import store
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.runs.lock import PATIENCE_SECONDS, acquire_run
from ablate.runs.record import ENVIRONMENT_FILE, OutsideEnd, read_record, replace_end
from ablate.slurm import canary, commands

AGAIN = (signal.SIGUSR1, signal.SIGUSR2)  # after which a job queues itself again
WAIT_SECONDS = 60.0  # for a run that its last holder is still letting go of
START_SECONDS = 240.0  # for a worker that the doctor tries; its job has five minutes
POLL_SECONDS = 0.1
TAIL = 20  # lines of a trial's output that are kept
SHARE = 0.7  # of the seconds between warning and end: what the trial has to save itself


class Job:
    """The work of one job, `pack`, its run folders, and the signals that it is sent.

    `spec` is the JSON that the job was submitted with, `home` the folder of the submission.
    """

    def __init__(self, spec: JobSpec, home: Path, pack: list[str]) -> None:
        self._spec = spec
        self._home = home
        self._pack = [Path(folder) for folder in pack]
        self._trial: subprocess.Popen[str] | None = None
        self.told: signal.Signals | None = None

    def listen(self) -> None:
        """Takes the signals; call it once, in the main thread."""
        for number in (*AGAIN, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        signal.signal(signal.SIGALRM, self._lose_patience)

    def work(self) -> bool:
        """Runs what is left of the pack; tells whether all of it is done."""
        for folder in self._pack:
            if not self.told and not self._mark(folder).exists():
                self._run(folder)
        if self.told in AGAIN and not all(self._mark(folder).exists() for folder in self._pack):
            self._requeue()
        marks = [EndMark.find(self._mark(folder)) for folder in self._pack]
        return all(mark is not None and mark.state == "done" for mark in marks)

    def _run(self, folder: Path) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.told:
            watching = acquire_run(
                folder, patience=patience(folder), stopped=lambda: bool(self.told)
            )
            with watching as mine:
                if mine:
                    self._hold(folder)
                    return
            if time.monotonic() > deadline:
                _say(f"{folder} is being run by another process; skipped")
                return
            time.sleep(POLL_SECONDS)

    def _hold(self, folder: Path) -> None:
        status = store.read_status(folder)
        trained = not (folder / "encoder.safetensors").exists()
        probes = json.loads(Path(self._spec.probes).read_text())
        if status.state != "done" or store.find_missing_probes(folder, probes):
            first = self._spec.canary is not None
            if first:
                (folder / HEARTBEAT_FILE).unlink(missing_ok=True)  # of a canary that was requeued
                self._train(folder, interrupted=True)
            if not (first and store.read_status(folder).state == "failed"):
                self._train(folder)
            status = store.read_status(folder)
        scored = status.state == "done" and not store.find_missing_probes(folder, probes)
        # what is trained says *done*, also where it was told to stop while it was scored
        unscored = status.state == "done" and not self.told
        if scored or unscored or status.state == "failed":
            mark = EndMark(state="done" if scored else "failed", trained=trained)
            mark.write(self._mark(folder))

    def _train(self, folder: Path, *, interrupted: bool = False) -> None:
        """Runs a trial's process to its end, and writes down what it could not write itself."""
        before = read_record(folder)
        spec = self._spec
        command = [*spec.step, sys.executable, "-P", "-m", "ablate.worker", str(folder)]
        command += ["--probes", spec.probes, "--device", spec.device]
        command += ["--cache", spec.cache, "--locked"]
        command += ["--evaluate", json.dumps(spec.evaluate and asdict(spec.evaluate))]
        self._trial = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
        if self.told:  # while it was being started
            self._forward(self.told)
        if interrupted:
            threading.Thread(target=_interrupt, args=(folder, self._trial), daemon=True).start()
        lines: list[str] = []
        assert self._trial.stdout is not None
        with self._trial.stdout as said:
            for line in said:
                sys.stdout.write(line)
                sys.stdout.flush()
                lines = [*lines[1 - TAIL :], line.strip()]
        code = self._trial.wait()
        signal.alarm(0)
        self._trial = None
        self._complete(folder, before, code, lines)

    def _complete(self, folder: Path, before: RunRecord, code: int, lines: list[str]) -> None:
        after = read_record(folder)
        state = after.state
        if self.told:  # what is done stays so, though it was being scored again
            if state != "done" and (state not in ("failed", "preempted") or after == before):
                replace_end(folder, "preempted", f"{self.told.name} between two stages")
        elif after == before or state == "running":
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            kind = "oom" if code == -signal.SIGKILL else "error"
            last = next((line for line in reversed(lines) if line[:1] != "{"), "no last words")
            reason = f"{kind}: the trial's process ended with {how}: {last}"
            replace_end(folder, "failed", reason)

    def _requeue(self) -> None:
        assert self.told is not None
        refused = requeue(self.told, self._spec.max_requeues)
        for folder in self._pack:
            if refused is not None and not self._mark(folder).exists():
                state: OutsideEnd = "failed" if refused.for_good else "preempted"
                replace_end(folder, state, refused.reason)
                if refused.for_good:
                    EndMark(state="failed").write(self._mark(folder))

    def _mark(self, folder: Path) -> Path:
        return self._home / "ended" / f"{folder.name}.json"

    def _hear(self, number: int, frame: object) -> None:
        self.told = self.told or signal.Signals(number)
        signal.alarm(max(1, int(SHARE * self._spec.signal_seconds)))
        self._forward(signal.Signals(number))

    def _forward(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._trial is not None and self._trial.poll() is None:
                self._trial.send_signal(number)

    def _lose_patience(self, number: int, frame: object) -> None:
        """Ends a trial that does not stop: its last periodic checkpoint is what is left of it."""
        self._forward(signal.SIGKILL)


def patience(folder: Path) -> float:
    """Returns for how many seconds to watch the heartbeat of a run that another machine had.

    0 where that was an earlier run of this very job: SLURM starts a job again only once it takes
    the run before to have ended, and a process that outlives its node's fall stops by itself, for
    its attempt is no longer the latest.
    """
    before = (Environment.find(folder / ENVIRONMENT_FILE) or Environment()).slurm
    names = ("SLURM_JOB_ID", "SLURM_JOB_NAME")  # a site that starts afresh gives numbers out again
    ours = all(name in before and before[name] == os.environ.get(name) for name in names)
    return 0.0 if ours else PATIENCE_SECONDS


@dataclass(frozen=True)
class Refusal:
    """Why a job is not queued again."""

    reason: str
    for_good: bool = False  # it has been as often as it may


def requeue(told: signal.Signals, most: int) -> Refusal | None:
    """Queues this job again, unless it has been `most` times; returns why not, if it is not."""
    number, runs = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if runs >= most:
        limit = "raise `minutes` or `max_requeues` of the profile"
        reason = f"timeout: requeued {runs} times and still not done; {limit}"
        return _said(Refusal(reason, for_good=True))
    _say(f"{told.name}: requeueing job {number}")
    try:
        commands.call(["scontrol", "requeue", number])
    except commands.RefusedError as error:
        return _said(Refusal(f"cannot be requeued: {error}"))
    return None


def _said(refusal: Refusal) -> Refusal:
    _say(refusal.reason)
    return refusal


def _interrupt(folder: Path, trial: subprocess.Popen[str]) -> None:
    """Tells a canary's trial to stop as soon as it trains, so that it has to save and resume.

    That is from its first heartbeat on: before it, a signal would end it at once.
    """
    while trial.poll() is None:
        if (folder / HEARTBEAT_FILE).exists():
            trial.send_signal(signal.SIGUSR1)
            return
        time.sleep(POLL_SECONDS)


def report(*, seconds: float = START_SECONDS) -> NodeReport:
    """Says what a job finds on its node, for `ablate doctor`: host, python, torch, GPUs, problem.

    That a worker takes longer than `seconds` to start and end is such a problem.
    """
    asked = [sys.executable, "-P", "-m", "ablate.worker", "--worker"]
    ready: ReadyMessage | None = None
    try:
        done = subprocess.run(
            asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        problem = f"it took longer than {seconds:g} s"
    else:
        ready = _find_ready(done.stdout)
        words = done.stderr.strip().splitlines()[-1:]
        problem = "; ".join(words) or f"exit code {done.returncode}"
    return NodeReport(
        host=socket.gethostname(),
        python=sys.executable,
        torch=None if ready is None else ready.torch,
        gpus=None if ready is None else ready.gpus,
        problem=None if ready else problem,
    )


def _find_ready(output: str) -> ReadyMessage | None:
    for line in output.splitlines():
        with contextlib.suppress(FormatError):
            message = parse_message(line, (ReadyMessage,))
            return message if isinstance(message, ReadyMessage) else None
    return None


def main() -> int:
    """Runs the pack that the environment names: a task of an array, or the only one.

    Returns the exit code: 0 where all of it is done.
    """
    parser = argparse.ArgumentParser(prog="python -m ablate.slurm.job", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: packs of run folders, and how to run them")
    parser.add_argument("--doctor", action="store_true", help="only report what the node offers")
    arguments = parser.parse_args()
    file = arguments.spec
    if arguments.doctor:
        report().write(file)
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
        assert spec.packs is not None, "a spec has packs or a canary"
        pack = spec.packs[index]
    job = Job(spec, file.parent, pack)
    job.listen()
    return 0 if job.work() else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
