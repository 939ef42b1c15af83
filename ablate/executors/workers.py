"""The worker processes of this machine: started when first needed, replaced, and stopped."""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ablate.core.records.planning import PlanReply, PlanRequest
from ablate.core.records.protocol import ReplyT, Request
from ablate.executors.devices import assign_devices
from ablate.executors.worker import (
    COMMAND,
    GRACE_SECONDS,
    OnProgress,
    Worker,
    WorkerDiedError,
    ignore_progress,
)


class Workers:
    """Worker processes of this machine, started when first needed; use it as a context manager.

    Args:
        cache: folder of decoded clips.
        size: number of workers; by default one per GPU, or per CPU core.
        ranks: processes that train one trial together, each with a GPU or core of its own.
        command: starts a worker.
    """

    def __init__(
        self,
        cache: Path,
        *,
        size: int | None = None,
        ranks: int = 1,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._command = (*command, "--cache", str(cache))
        self._size = size
        self._ranks = ranks
        self._workers: dict[int, Worker] = {}
        self._devices: list[str] = []  # one per worker
        self._stopping = False
        self._lock = threading.Lock()  # no worker is started once they are being stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stop(at_once=kind is not None)
        for worker in self._workers.values():
            worker.close()

    @property
    def size(self) -> int:
        """The number of workers.

        Starts a worker to count the GPUs. Raises as `assign_devices`, and `WorkerDiedError`.
        """
        return len(self._find_devices())

    @property
    def num_gpus(self) -> int:
        """The number of GPUs of this machine. Starts a worker; raises `WorkerDiedError`."""
        return self._get_worker(0).ready().gpus

    def request(
        self,
        request: Request[ReplyT],
        on_progress: OnProgress = ignore_progress,
        *,
        worker: int = 0,
    ) -> ReplyT:
        """Sends a request to one worker and returns its reply; raises as `Worker.request`."""
        return self._get_worker(worker).request(request, on_progress)

    def plan(
        self, request: PlanRequest, on_progress: OnProgress = ignore_progress, *, worker: int = 0
    ) -> PlanReply:
        """Has one worker validate trials, as `Worker.plan` does."""
        return self._get_worker(worker).plan(request, on_progress)

    def _find_devices(self) -> list[str]:
        if not self._devices:
            self._devices = assign_devices(self.num_gpus, self._size, self._ranks)
        return self._devices

    def _get_worker(self, index: int) -> Worker:
        with self._lock:
            if self._stopping:
                raise WorkerDiedError("the workers are being stopped")
            if index not in self._workers:
                self._workers[index] = Worker(self._command)
            return self._workers[index]

    def _retire(self, index: int) -> None:
        with self._lock:
            if self._stopping:
                return  # `_stop` ends it
            worker = self._workers.pop(index)
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()

    def _stop(self, *, at_once: bool) -> None:
        with self._lock:
            self._stopping = True
        for worker in self._workers.values():
            worker.shutdown(at_once=at_once)
        deadline = time.monotonic() + GRACE_SECONDS
        with contextlib.ExitStack() as stack:  # a second Ctrl-C still ends every one of them
            for worker in self._workers.values():
                stack.callback(_finish, worker, deadline)


def _finish(worker: Worker, deadline: float) -> None:
    worker.finish(max(0.0, deadline - time.monotonic()))
