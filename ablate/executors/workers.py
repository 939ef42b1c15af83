"""The worker processes of this machine: started when first needed, replaced, and stopped."""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ablate.executors.devices import assign_devices
from ablate.executors.worker import (
    COMMAND,
    GRACE_SECONDS,
    Worker,
    WorkerDiedError,
)


class Workers:
    """Worker processes of this machine, started when first needed.

    Args:
        cache: folder of decoded clips.
        size: number of workers; by default one per GPU, or per CPU core.
        ranks: processes that train one trial together, each with a GPU or core of its own.
        command: starts a worker.

    Attributes:
        ranks: as given.
        is_stopping: whether no worker is started any more.
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
        self.ranks = ranks
        self._workers: dict[int, Worker] = {}
        self._devices: list[str] = []  # one per worker
        self.is_stopping = False
        self._lock = threading.Lock()  # no worker is started once they are being stopped

    @property
    def num_gpus(self) -> int:
        """The number of GPUs of this machine. Starts a worker; raises `WorkerDiedError`."""
        return self.get(0).ready().gpus

    def find_devices(self) -> list[str]:
        """Returns the device of each worker.

        Starts a worker to count the GPUs. Raises as `assign_devices`, and `WorkerDiedError`.
        """
        if not self._devices:
            self._devices = assign_devices(self.num_gpus, self._size, self.ranks)
        return self._devices

    def get(self, index: int) -> Worker:
        """Returns a worker, which is started first if necessary.

        Raises `WorkerDiedError` if the workers are being stopped.
        """
        with self._lock:
            if self.is_stopping:
                raise WorkerDiedError("the workers are being stopped")
            if index not in self._workers:
                self._workers[index] = Worker(self._command)
            return self._workers[index]

    def retire(self, index: int) -> None:
        """Ends a worker; the next `get` starts another one in its place."""
        with self._lock:
            if self.is_stopping:
                return  # `stop` ends it
            worker = self._workers.pop(index)
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()

    def stop(self, *, at_once: bool) -> None:
        """Ends all workers: after their present requests, or at once by SIGTERM."""
        with self._lock:
            self.is_stopping = True
        for worker in self._workers.values():
            worker.shutdown(at_once=at_once)
        deadline = time.monotonic() + GRACE_SECONDS
        with contextlib.ExitStack() as stack:  # a second Ctrl-C still ends every one of them
            for worker in self._workers.values():
                stack.callback(_finish, worker, deadline)

    def close(self) -> None:
        """Closes the files of all workers, which have been stopped."""
        for worker in self._workers.values():
            worker.close()


def _finish(worker: Worker, deadline: float) -> None:
    worker.finish(max(0.0, deadline - time.monotonic()))
