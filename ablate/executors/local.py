"""Runs jobs on this machine: persistent workers, a queue of run folders, a thread per worker.

Workers are kept, because importing torch takes longer than the probes of a short trial. If a worker
dies, another one resumes its trial from the last checkpoint.
"""

import collections
import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Self

from ablate.core.machine_errors import MachineError
from ablate.core.records.messages import ProgressMessage, RunReply, RunRequest
from ablate.core.records.planning import PlanReply, PlanRequest
from ablate.core.records.protocol import ReplyT, Request
from ablate.executors.worker import (
    COMMAND,
    InvalidRequestError,
    OnProgress,
    WorkerDiedError,
    ignore_progress,
)
from ablate.executors.workers import Workers
from ablate.runs import store
from ablate.runs.job import ProgressListener, RunJob, RunOutcome
from ablate.runs.lock import acquire_run
from ablate.runs.record import ENDED, mark_ended

POLL_SECONDS = 0.2  # between two looks at the news, or at a run that another process has locked
MAX_DEATHS = 3  # workers per trial; the cause may be the machine's memory, or the trial itself
WAITING = ProgressMessage(label="waiting for another process")


class Pool:
    """Workers with a queue of runs; use it as a context manager. Arguments as for `Workers`."""

    def __init__(
        self,
        cache: Path,
        *,
        size: int | None = None,
        ranks: int = 1,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._workers = Workers(cache, size=size, ranks=ranks, command=command)
        self._todo: collections.deque[tuple[RunJob, bool]] = collections.deque()
        self._news: queue.SimpleQueue[tuple[int, RunJob, ProgressMessage | RunOutcome]] = (
            queue.SimpleQueue()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._workers.stop(at_once=kind is not None)
        self._workers.close()

    @property
    def size(self) -> int:
        """The number of workers. Starts one; raises as `Workers.find_devices`."""
        return len(self._workers.find_devices())

    @property
    def num_gpus(self) -> int:
        """The number of GPUs of this machine. Starts a worker; raises `WorkerDiedError`."""
        return self._workers.num_gpus

    def request(
        self,
        request: Request[ReplyT],
        on_progress: OnProgress = ignore_progress,
        *,
        worker: int = 0,
    ) -> ReplyT:
        """Sends a request to one worker and returns its reply; raises as `Worker.request`."""
        return self._workers.get(worker).request(request, on_progress)

    def plan(
        self, request: PlanRequest, on_progress: OnProgress = ignore_progress, *, worker: int = 0
    ) -> PlanReply:
        """Has one worker validate trials, as `Worker.plan` does."""
        return self._workers.get(worker).plan(request, on_progress)

    def run(self, jobs: Sequence[RunJob], listener: ProgressListener) -> list[RunOutcome]:
        """Runs all jobs and returns how they ended, in the order of their ends.

        On Ctrl-C, or another exception, the workers are stopped cleanly and their runs marked
        cancelled. Raises as `size` does, and `MachineError` if this machine cannot go on, such as
        with a full disk.
        """
        self._todo.extend((job, False) for job in jobs)
        outcomes: list[RunOutcome] = []
        count = max(1, min(self.size, len(jobs)))
        executor = ThreadPoolExecutor(count)
        try:
            threads = [executor.submit(self._run_queue, index) for index in range(count)]
            while len(outcomes) < len(jobs):
                self._notify(listener, outcomes, threads)
        finally:
            try:
                if len(outcomes) < len(jobs):
                    self._workers.stop(at_once=True)
            finally:
                executor.shutdown()
        return outcomes

    def run_loop(self, step: Callable[["WorkerHandle"], bool], listener: ProgressListener) -> None:
        """Calls `step` for every worker, in its own thread, again and again until it returns False.

        An exception in one thread ends all of them and is raised here.
        """
        executor = ThreadPoolExecutor(self.size)
        ended = False
        try:
            threads = [executor.submit(self._loop, index, step) for index in range(self.size)]
            while not ended:
                ended = all(future.done() for future in threads) and self._news.empty()
                self._notify(listener, [], threads)
        finally:
            try:
                if not ended:
                    self._workers.stop(at_once=True)
            finally:
                executor.shutdown()

    def _run_in_thread(self, index: int, job: RunJob) -> RunOutcome:
        """Runs a job with one worker; waits while another process has locked the run."""
        waited = False
        while True:
            outcome = self._try_run(index, job, waited=waited)
            if outcome is not None:
                self._news.put((index, job, outcome))
                return outcome
            if self._workers.is_stopping:
                return RunOutcome(job, "cancelled", "interrupted")
            self._news.put((index, job, WAITING))
            waited = True
            time.sleep(POLL_SECONDS)

    def _loop(self, index: int, step: Callable[["WorkerHandle"], bool]) -> None:
        while not self._workers.is_stopping and step(WorkerHandle(self, index)):
            pass

    def _notify(
        self,
        listener: ProgressListener,
        outcomes: list[RunOutcome],
        threads: Sequence[Future[None]],
    ) -> None:
        """Passes one piece of news on to the listener; adds an outcome to `outcomes`."""
        for future in threads:
            if future.done():
                future.result()  # raises what ended the thread too early
        with contextlib.suppress(queue.Empty):
            index, job, news = self._news.get(timeout=POLL_SECONDS)
            if isinstance(news, RunOutcome):
                outcomes.append(news)
                listener.on_finished(index, news)
            else:
                listener.on_progress(index, job, news)

    def _run_queue(self, index: int) -> None:
        """Runs jobs until none is left."""
        while not self._workers.is_stopping:
            try:
                job, waited = self._todo.popleft()
            except IndexError:
                return
            if waited:
                time.sleep(POLL_SECONDS)
            outcome = self._try_run(index, job, waited=waited)
            if outcome is None:  # another process has locked it: try again after the rest
                self._news.put((index, job, WAITING))
                self._todo.append((job, True))
            else:
                self._news.put((index, job, outcome))

    def _try_run(self, index: int, job: RunJob, *, waited: bool) -> RunOutcome | None:
        """Runs a job with one worker; returns None if another process has locked the run."""
        with acquire_run(job.folder, stopped=lambda: self._workers.is_stopping) as acquired:
            return self._run_locked(index, job, waited=waited) if acquired else None

    def _run_locked(self, index: int, job: RunJob, *, waited: bool, deaths: int = 0) -> RunOutcome:
        """Runs a job; if its worker dies, another one resumes it from its checkpoint."""
        status = store.read_status(job.folder)
        if waited and status.state == "failed":  # just now, in another process: not tried twice
            return RunOutcome(job, "failed", status.reason)
        if status.state == "done" and not store.find_missing_probes(job.folder, job.probes):
            return RunOutcome(job, "done")
        worker = self._workers.get(index)
        worker.ready()
        devices = self._workers.find_devices()
        request = RunRequest(
            folder=job.folder,
            probes=dict(job.probes),
            device=devices[index],
            memory_share=1 / devices.count(devices[index]),
            ranks=self._workers.ranks,
            until=job.until,
            evaluate=job.evaluate,
        )
        started = time.monotonic()
        try:
            reply = worker.request(request, lambda event: self._news.put((index, job, event)))
        except InvalidRequestError as error:
            return RunOutcome(job, "failed", str(error), seconds=time.monotonic() - started)
        except WorkerDiedError as error:
            self._workers.retire(index)
            ended = store.read_status(job.folder).state in ENDED
            if not (ended or self._workers.is_stopping) and deaths + 1 < MAX_DEATHS:
                return self._run_locked(index, job, waited=waited, deaths=deaths + 1)
            reason = f"{error}; it killed {deaths + 1} workers" if deaths else str(error)
            reason = f"oom: {reason}" if deaths and error.killed else reason
            return self._record_death(job, reason, time.monotonic() - started)
        if reply.machine_failed:
            raise MachineError(f"{job.title} ({job.folder.name}): {reply.reason}")
        if reply.state == "preempted" and not self._workers.is_stopping:
            self._workers.retire(index)  # it was told to stop from outside; another worker resumes
            return self._run_locked(index, job, waited=waited)
        return _build_outcome(job, reply, time.monotonic() - started)

    def _record_death(self, job: RunJob, reason: str, seconds: float) -> RunOutcome:
        """Ends the record of a run whose worker died."""
        ended: Literal["cancelled", "failed"] = (
            "cancelled" if self._workers.is_stopping else "failed"
        )
        reason = "interrupted" if self._workers.is_stopping else reason
        mark_ended(job.folder, ended, reason)
        state = store.read_status(job.folder).state  # "done" if it was being scored again
        outcome = state if state in ("preempted", "cancelled") else ended
        return RunOutcome(job, outcome, reason, seconds=seconds, died=True)


class WorkerHandle:
    """One worker of a pool, for a step of `Pool.run_loop`."""

    def __init__(self, pool: Pool, index: int) -> None:
        self._pool = pool
        self._index = index

    def request(self, request: Request[ReplyT]) -> ReplyT:
        """Sends the worker a request and returns its reply; raises as `Worker.request`."""
        return self._pool.request(request, worker=self._index)

    def plan(self, request: PlanRequest) -> PlanReply:
        """Has the worker validate trials, as `Pool.plan` does."""
        return self._pool.plan(request, lambda event: None, worker=self._index)

    @property
    def is_stopping(self) -> bool:
        """Whether the pool is being stopped and starts no further step."""
        return self._pool._workers.is_stopping

    def run(self, job: RunJob) -> RunOutcome:
        """Runs a job, unless it is done; waits while another process has locked the run."""
        return self._pool._run_in_thread(self._index, job)


def _build_outcome(job: RunJob, reply: RunReply, seconds: float) -> RunOutcome:
    return RunOutcome(job, reply.state, reply.reason, reply.trained, reply.probed, seconds)
