"""The client of a worker process: sends it requests and reads its replies, as lines of JSON."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import cast

from ablate.core.records.messages import ANSWERS, ErrorReply, ProgressMessage, ReadyMessage
from ablate.core.records.planning import PlanReply, PlanRequest, SettingProblem
from ablate.core.records.protocol import Message, Reply, ReplyT, Request, parse_message
from ablate.core.records.record import FormatError

COMMAND = (sys.executable, "-m", "ablate.worker", "--worker")
GRACE_SECONDS = 10.0  # for a worker to end after it was told to
TAIL_BYTES = 4000  # read from the end of a worker's stderr
# Set before the worker starts, because libraries read them when they are loaded. `ablate.worker`
# explains why there is one thread.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

OnProgress = Callable[[ProgressMessage], None]
logger = logging.getLogger(__name__)


class WorkerDiedError(RuntimeError):
    """The worker's process ended before it had replied.

    `killed` tells that SIGKILL ended it, which the kernel sends when memory runs out.
    """

    def __init__(self, message: str, *, killed: bool = False) -> None:
        super().__init__(message)
        self.killed = killed


class InvalidRequestError(Exception):
    """A worker refused a request because of settings in it."""

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def ignore_progress(progress: ProgressMessage) -> None:
    """Does nothing with the progress of a request."""


class Worker:
    """One worker process. It has its own session, so that Ctrl-C does not reach it directly."""

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
        self._ready: ReadyMessage | None = None

    def ready(self) -> ReadyMessage:
        """Waits until the worker has started; returns its torch version and number of GPUs.

        Raises `WorkerDiedError` if it does not start.
        """
        if self._ready is None:
            message = self._read_until(ReadyMessage, ignore_progress)
            self._ready = cast(ReadyMessage, message)
        return self._ready

    def request(
        self, request: Request[ReplyT], on_progress: OnProgress = ignore_progress
    ) -> ReplyT:
        """Sends a request and returns the reply; calls `on_progress` for progress before it.

        Raises `InvalidRequestError` for wrong settings, `WorkerDiedError` if the process ends.
        """
        self.ready()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.to_line().encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # closed by `shutdown`, or because it died
            raise self._create_death_error() from None
        reply = self._read_until(Reply, on_progress)
        if isinstance(reply, ErrorReply):
            raise InvalidRequestError(reply.problems)
        return cast(ReplyT, reply)

    def plan(self, request: PlanRequest, on_progress: OnProgress = ignore_progress) -> PlanReply:
        """Has the worker validate trials.

        Problems that all trials share are in `PlanReply.problems`. Raises `WorkerDiedError`.
        """
        try:
            return self.request(request, on_progress)
        except InvalidRequestError as error:
            return PlanReply(problems=tuple(error.problems))

    def shutdown(self, *, at_once: bool) -> None:
        """Tells the worker to end: after its present request, or at once by SIGTERM."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            if self._process.stdin is not None:
                self._process.stdin.close()
        if at_once:
            self._signal(signal.SIGTERM)

    def finish(self, seconds: float = GRACE_SECONDS) -> None:
        """Waits `seconds` for a worker that was shut down, then kills it and its children."""
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        finally:  # also if a second Ctrl-C ends the wait
            self._signal(signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Closes the pipes of a worker that has ended and serves no request."""
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read_until(self, kind: type[Message], on_progress: OnProgress) -> Message:
        """Reads messages up to one of a class; logs lines that a library printed."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = parse_message(line, ANSWERS)
            except FormatError:
                logger.warning("a worker wrote to stdout: %s", line.decode(errors="replace"))
                continue
            if isinstance(message, kind):
                return message
            if isinstance(message, ProgressMessage):
                on_progress(message)
        raise self._create_death_error()

    def _create_death_error(self) -> WorkerDiedError:
        """Creates an error that says how the process ended, with the last line of its stderr."""
        self._process.wait()
        code = self._process.returncode
        if code < 0:
            return WorkerDiedError(f"worker died (signal {-code})", killed=-code == signal.SIGKILL)
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - TAIL_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return WorkerDiedError(f"worker died (exit code {code}){last}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:  # else its number may be another process's
            os.killpg(self._process.pid, number)
