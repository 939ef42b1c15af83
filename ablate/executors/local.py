"""Runs on this machine: a few persistent workers, a queue of run folders, a thread per worker.

Workers are started once, for importing torch takes longer than a short trial's probes. When one
dies, its trial goes on from its checkpoint with another.
"""

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from ablate.core.records.plan import PlanReply, PlanRequest
from ablate.executors.devices import assign_devices
from ablate.executors.worker import COMMAND, GRACE_SECONDS, Worker, WorkerDiedError
from ablate.runs import store
from ablate.runs.job import Event, ProgressListener, RunJob, RunOutcome
from ablate.runs.lock import acquire_run
from ablate.runs.record import ENDED, mark_ended

POLL_SECONDS = 0.2  # between two looks for news, or at a run that another process holds
MOST_DEATHS = 3  # of workers in one trial: a machine short of memory kills, but so may the trial
ELSEWHERE: Event = {"event": "progress", "label": "waiting for another process"}


class Pool:
    """Workers for as long as the `with` lasts: `size` of them, each with `ranks` processes a trial.

    They are started when they are first needed, by `command`; decoded clips lie in `cache`.
    """

    def __init__(
        self,
        cache: Path,
        *,
        size: int | None = None,
        ranks: int = 1,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._cache = cache
        self._size = size
        self._ranks = ranks  # processes that train one trial, each with a GPU or core of its own
        self._command = command
        self._workers: dict[int, Worker] = {}
        self._devices: list[str] = []  # one a worker
        self._todo: collections.deque[tuple[RunJob, bool]] = collections.deque()
        self._news: queue.SimpleQueue[tuple[int, RunJob, Event | RunOutcome]] = queue.SimpleQueue()
        self._stopping = False
        self._door = threading.Lock()  # no worker comes in once they are being sent away

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stop(at_once=kind is not None)
        for worker in self._workers.values():
            worker.close()

    @property
    def size(self) -> int:
        """How many workers are used: as asked, or one a GPU, or one a CPU core.

        Asks the first worker for the GPUs. Raises as `assign_devices`, and `WorkerDiedError`.
        """
        return len(self._find_devices())

    def ask(
        self, request: Mapping[str, Any], heard: Callable[[Event], None], *, worker: int = 0
    ) -> Event:
        """Asks one worker something that is not a run; returns as `Worker.ask` and raises so."""
        return self._worker(worker).ask({**request, "cache": str(self._cache)}, heard)

    def plan(
        self, request: PlanRequest, heard: Callable[[Event], None], *, worker: int = 0
    ) -> PlanReply:
        """Has one worker validate trials, as `Worker.plan` does."""
        return self._worker(worker).plan(request, str(self._cache), heard)

    def run(self, jobs: Sequence[RunJob], watch: ProgressListener) -> list[RunOutcome]:
        """Runs all jobs and returns how they ended, in the order of their ends.

        On Ctrl-C, and on whatever else ends it early, the workers are stopped in good order
        and their runs marked cancelled. Raises as `size` does.
        """
        self._todo.extend((job, False) for job in jobs)
        outcomes: list[RunOutcome] = []
        count = max(1, min(self.size, len(jobs)))
        executor = ThreadPoolExecutor(count)
        try:
            serving = [executor.submit(self._serve, index) for index in range(count)]
            while len(outcomes) < len(jobs):
                self._hear(watch, outcomes, serving)
        finally:
            try:
                if len(outcomes) < len(jobs):
                    self._stop(at_once=True)
            finally:
                executor.shutdown()
        return outcomes

    def run_loop(self, turn: Callable[["WorkerHandle"], bool], watch: ProgressListener) -> None:
        """Has every worker take turns, in a thread of its own, until its own turn gives False.

        What a turn raises ends all of them and is raised here.
        """
        executor = ThreadPoolExecutor(self.size)
        ended = False
        try:
            serving = [executor.submit(self._turn, index, turn) for index in range(self.size)]
            while not ended:
                ended = all(future.done() for future in serving) and self._news.empty()
                self._hear(watch, [], serving)
        finally:
            try:
                if not ended:
                    self._stop(at_once=True)
            finally:
                executor.shutdown()

    def _run_in(self, index: int, job: RunJob) -> RunOutcome:
        """Runs a job with one worker, in the thread that calls; waits while another has the run."""
        waited = False
        while True:
            with acquire_run(job.folder, stopped=lambda: self._stopping) as mine:
                outcome = self._end_of(index, job, waited=waited) if mine else None
            if outcome is not None:
                self._news.put((index, job, outcome))
                return outcome
            if self._stopping:
                return RunOutcome(job, "cancelled", "interrupted")
            self._news.put((index, job, ELSEWHERE))
            waited = True
            time.sleep(POLL_SECONDS)

    def _turn(self, index: int, turn: Callable[["WorkerHandle"], bool]) -> None:
        while not self._stopping and turn(WorkerHandle(self, index)):
            pass

    def _find_devices(self) -> list[str]:
        if not self._devices:
            gpus = int(self._worker(0).ready().get("gpus", 0))
            self._devices = assign_devices(gpus, self._size, self._ranks)
        return self._devices

    def _hear(
        self, watch: ProgressListener, outcomes: list[RunOutcome], serving: Sequence[Future[None]]
    ) -> None:
        for future in serving:
            if future.done():
                future.result()  # raises what ended a thread before its time
        with contextlib.suppress(queue.Empty):
            index, job, news = self._news.get(timeout=POLL_SECONDS)
            if isinstance(news, RunOutcome):
                outcomes.append(news)
                watch.finished(index, news)
            else:
                watch.progress(index, job, news)

    def _serve(self, index: int) -> None:
        """Takes jobs until there are none left."""
        while not self._stopping:
            try:
                job, waited = self._todo.popleft()
            except IndexError:
                return
            if waited:
                time.sleep(POLL_SECONDS)
            with acquire_run(job.folder, stopped=lambda: self._stopping) as mine:
                outcome = self._end_of(index, job, waited=waited) if mine else None
            if outcome is None:  # another process has it: come back when the rest is done
                self._news.put((index, job, ELSEWHERE))
                self._todo.append((job, True))
            else:
                self._news.put((index, job, outcome))

    def _end_of(self, index: int, job: RunJob, *, waited: bool, deaths: int = 0) -> RunOutcome:
        """Has a worker do the job; where one dies of it, another goes on from its checkpoint."""
        status = store.read_status(job.folder)
        if waited and status.state == "failed":  # just now, elsewhere: not to be tried twice
            return RunOutcome(job, "failed", status.reason)
        if status.state == "done" and not store.find_missing_probes(job.folder, job.probes):
            return RunOutcome(job, "done")
        worker = self._worker(index)
        worker.ready()
        here = {"device": self._devices[index], "cache": str(self._cache), "ranks": self._ranks}
        asked = {
            "probes": job.probes,
            "until": job.until,
            "evaluate": job.evaluate and asdict(job.evaluate),
        }
        request = {"do": "run", "folder": str(job.folder), **here, **asked}
        started = time.monotonic()
        try:
            answer = worker.ask(request, lambda event: self._news.put((index, job, event)))
        except WorkerDiedError as error:
            self._retire(index)
            ended = store.read_status(job.folder).state in ENDED
            if not (ended or self._stopping) and deaths + 1 < MOST_DEATHS:
                return self._end_of(index, job, waited=waited, deaths=deaths + 1)
            reason = f"{error}; it killed {deaths + 1} workers" if deaths else str(error)
            return self._lost(job, reason, time.monotonic() - started)
        if answer.get("state") == "preempted" and not self._stopping:
            self._retire(index)  # somebody else told it to stop; another goes on from there
            return self._end_of(index, job, waited=waited)
        return _outcome(job, answer, time.monotonic() - started)

    def _lost(self, job: RunJob, reason: str, seconds: float) -> RunOutcome:
        ended: Literal["cancelled", "failed"] = "cancelled" if self._stopping else "failed"
        reason = "interrupted" if self._stopping else reason
        mark_ended(job.folder, ended, reason)
        state = store.read_status(job.folder).state  # *done* where it was being scored
        told_to = state if state in ("preempted", "cancelled") else ended
        return RunOutcome(job, told_to, reason, seconds=seconds, died=True)

    def _worker(self, index: int) -> Worker:
        with self._door:
            if self._stopping:
                raise WorkerDiedError("the workers are being stopped")
            if index not in self._workers:
                self._workers[index] = Worker(self._command)
            return self._workers[index]

    def _retire(self, index: int) -> None:
        with self._door:
            if self._stopping:
                return  # `_stop` sees to it
            worker = self._workers.pop(index)
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()

    def _stop(self, *, at_once: bool) -> None:
        with self._door:
            self._stopping = True
        for worker in self._workers.values():
            worker.shutdown(at_once=at_once)
        deadline = time.monotonic() + GRACE_SECONDS
        with contextlib.ExitStack() as stack:  # a second Ctrl-C still ends every one of them
            for worker in self._workers.values():
                stack.callback(_finish, worker, deadline)


class WorkerHandle:
    """What a turn is given: one worker of a pool."""

    def __init__(self, pool: Pool, index: int) -> None:
        self._pool = pool
        self._index = index

    def ask(self, request: Mapping[str, Any]) -> Event:
        """Asks the worker something that is not a run; returns as `Worker.ask` and raises so."""
        return self._pool.ask(request, lambda event: None, worker=self._index)

    def plan(self, request: PlanRequest) -> PlanReply:
        """Has the worker validate trials, as `Pool.plan` does."""
        return self._pool.plan(request, lambda event: None, worker=self._index)

    @property
    def is_stopping(self) -> bool:
        """Tells whether the pool is being stopped: it gives no further turn."""
        return self._pool._stopping

    def run(self, job: RunJob) -> RunOutcome:
        """Runs a job, unless it is done; waits while another process holds it."""
        return self._pool._run_in(self._index, job)


def _finish(worker: Worker, deadline: float) -> None:
    worker.finish(max(0.0, deadline - time.monotonic()))


def _outcome(job: RunJob, answer: Event, seconds: float) -> RunOutcome:
    if answer["event"] == "error":
        reasons = [f"`{'.'.join(p['path'])}`: {p['message']}" for p in answer["problems"]]
        return RunOutcome(job, "failed", "; ".join(reasons), seconds=seconds)
    trained, probed = bool(answer.get("trained")), tuple(answer.get("probed", ()))
    return RunOutcome(job, answer["state"], answer.get("reason"), trained, probed, seconds)
