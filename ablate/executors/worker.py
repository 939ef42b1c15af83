"""A worker seen from outside: a process that is sent JSON lines and answers with JSON lines."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablate.core.records.plan import PlanReply, PlanRequest, SettingProblem
from ablate.runs.job import Event

COMMAND = (sys.executable, "-m", "ablate.worker", "--worker")
GRACE_SECONDS = 10.0  # for a worker that was told to leave
TAIL_BYTES = 4000  # of its stderr, to find its last words in
# told from outside to the libraries that a worker loads before it can tell them: `ablate.worker`
# says why it is one
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

logger = logging.getLogger(__name__)


class WorkerDiedError(RuntimeError):
    """The worker's process ended before it had answered."""


def ignore(event: Event) -> None:
    """Ignores a progress event."""


def read_problems(answer: Event) -> tuple[SettingProblem, ...]:
    """Reads the problems of an `error` event."""
    return tuple(
        SettingProblem(path=tuple(found["path"]), message=found["message"])
        for found in answer["problems"]
    )


def read_plan_reply(answer: Event) -> PlanReply:
    """Reads the answer to a plan request; an error becomes `PlanReply.problems`."""
    if answer["event"] == "error":
        return PlanReply(problems=read_problems(answer))
    return PlanReply.from_json(answer["plan"], "a worker's reply")


class Worker:
    """One worker process. It keeps to a session of its own, so that Ctrl-C reaches us alone."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**ONE_THREAD, **os.environ},
            start_new_session=True,
        )
        self._ready: Event | None = None

    def ready(self) -> Event:
        """Waits until the worker can be asked; returns what it says of its machine: torch, GPUs.

        Raises `WorkerDiedError` where it does not start.
        """
        if self._ready is None:
            self._ready = self._answer(("ready",), lambda event: None)
        return self._ready

    def ask(self, request: Mapping[str, Any], heard: Callable[[Event], None]) -> Event:
        """Sends a request and returns its `result` or `error`; `heard` is told what comes before.

        Raises `WorkerDiedError` where the process ends first.
        """
        self.ready()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # closed by `finish`, or by its death
            raise WorkerDiedError(self._exit_message()) from None
        return self._answer(("result", "error"), heard)

    def plan(
        self, request: PlanRequest, cache: str, heard: Callable[[Event], None] = ignore
    ) -> PlanReply:
        """Has the worker validate trials; `cache` is the folder of decoded clips.

        Problems that all trials share are in `PlanReply.problems`. Raises `WorkerDiedError`.
        """
        return read_plan_reply(
            self.ask({"do": "plan", "plan": request.to_json(), "cache": cache}, heard)
        )

    def shutdown(self, *, at_once: bool) -> None:
        """Tells the worker to leave: when it has nothing left to do, or now, in good order."""
        with contextlib.suppress(BrokenPipeError):  # it has left already
            if self._process.stdin is not None:
                self._process.stdin.close()
        if at_once:
            self._signal(signal.SIGTERM)

    def finish(self, seconds: float = GRACE_SECONDS) -> None:
        """Waits `seconds` for a dismissed worker to leave, then kills it and its children."""
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        finally:  # also where a second Ctrl-C ends the wait
            self._signal(signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Lets go of the pipes of a worker that has ended and that nobody is asking."""
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _answer(self, last: tuple[str, ...], heard: Callable[[Event], None]) -> Event:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event: Event = json.loads(line)
                kind = event["event"]
            except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
                logger.warning("a worker wrote to stdout: %s", line.decode(errors="replace"))
                continue
            if kind in last:
                return event
            heard(event)
        raise WorkerDiedError(self._exit_message())

    def _exit_message(self) -> str:
        """Says how the process ended, with its last words."""
        self._process.wait()
        code = self._process.returncode
        if code < 0:
            return f"worker died (signal {-code})"
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - TAIL_BYTES))
        words = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"worker died (exit code {code})" + (f": {words[-1]}" if words else "")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:  # its number may be another's by now
            os.killpg(self._process.pid, number)
