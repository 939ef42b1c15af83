"""Waits for the storage of a sweep while it is away, such as a server that is restarted.

A server is away while it refuses connections; a journal on a network disk, while the disk does not
answer. Wrong passwords or names are errors at once.
"""

import errno
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy.exc
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from ablate.core.io import DamagedFileError

ResultT = TypeVar("ResultT")

PATIENCE_SECONDS = 300.0  # longest wait for a storage that was used before
OPEN_SECONDS = 60.0  # the same when it is opened: its address may be wrong
RETRY_SECONDS = 1.0
MAX_INTERRUPTIONS = 5  # per operation, by a server that ends the connection
AWAY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENODEV}
# what PostgreSQL says while it starts, stops or is full; any other FATAL will not change by itself
TEMPORARY = re.compile(r"starting up|shutting down|recovery|too many|administrator|terminat")
PERMANENT = re.compile(r"FATAL|translate host name|resolve host|service not known|no password")
TAIL_BYTES = 1 << 16  # longer than an entry of a journal
CHECKSUM = "crc"  # key of an entry of a journal
REMEDY = "delete it and run again: it is rebuilt from the runs"  # for a damaged journal
logger = logging.getLogger(__name__)
_is_stopped: ContextVar[Callable[[], bool]] = ContextVar("is_stopped", default=lambda: False)


@contextmanager
def stop_waiting_if(is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Within the block, in this thread, waits end once `is_stopped` returns True."""
    token = _is_stopped.set(is_stopped)
    try:
        yield
    finally:
        _is_stopped.reset(token)


def wait_for(
    fn: Callable[[], ResultT],
    name: str,
    is_away: Callable[[Exception], bool],
    patience: float = PATIENCE_SECONDS,
) -> ResultT:
    """Calls `fn` until it does not raise an error of a storage that is away.

    Args:
        fn: uses the storage.
        name: names the storage in the log.
        is_away: whether an error means that the storage is away.
        patience: longest wait in seconds.

    Raises:
        Exception: that of `fn`, if it is another one, or after `patience`.
    """
    started = time.monotonic()
    num_errors = 0
    while True:
        try:
            result = fn()
        except Exception as error:
            elapsed = time.monotonic() - started
            if not is_away(error) or elapsed > patience or _is_stopped.get()():
                raise
            if not num_errors:
                first = next(iter(str(error).strip().splitlines()), type(error).__name__)
                bound = f"waiting for up to {patience:.0f} s"
                logger.warning("storage %s does not answer (%s); %s", name, first, bound)
            num_errors += 1
            time.sleep(RETRY_SECONDS)
        else:
            if num_errors:
                elapsed = time.monotonic() - started
                logger.warning("storage %s answers again after %.0f s", name, elapsed)
            return result


def create_connector(name: str) -> Callable[[Any, Any, Any, Any], Any]:
    """Returns a handler of SQLAlchemy's event `do_connect` that waits for a server."""

    def connect(dialect: Any, record: object, arguments: Any, options: Any) -> Any:
        return wait_for(lambda: dialect.connect(*arguments, **options), name, is_server_away)

    return connect


def is_server_away(error: Exception) -> bool:
    """Returns whether a failed connection may succeed later."""
    text = str(error)
    return bool(TEMPORARY.search(text)) or not PERMANENT.search(text)


def retry_interrupted(fn: Callable[[], ResultT]) -> ResultT:
    """Calls `fn` again if the server has ended the connection meanwhile.

    The next connection waits for the server. `fn` must be able to continue what it had begun.
    """
    for _ in range(MAX_INTERRUPTIONS):
        try:
            return fn()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if not _is_interruption(error) or _is_stopped.get()():
                raise
    return fn()


def _is_interruption(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__ or error.__context__
    return False


class PatientJournal(BaseJournalBackend):
    """A journal file that is waited for while its disk does not answer.

    Every entry gets a checksum, which Optuna ignores. Entries of earlier versions have none.
    """

    def __init__(self, path: Path, backend: JournalFileBackend) -> None:
        self._path = path
        self._backend = backend

    def read_logs(self, log_number_from: int) -> Any:
        """Reads log entries from a number on. Raises `DamagedFileError`."""

        def read() -> list[dict[str, Any]]:
            logs = list(self._backend.read_logs(log_number_from))
            self._check_last_line()
            return logs

        try:
            logs = wait_for(read, str(self._path), _is_disk_away)
        except ValueError as error:  # not JSON, or not UTF-8
            raise DamagedFileError(self._path, f"cannot be read ({error})", REMEDY) from error
        for number, log in enumerate(logs, start=log_number_from + 1):
            if log.pop(CHECKSUM, None) not in (None, _compute_checksum(log)):
                problem = f"does not match the checksum of line {number}"
                raise DamagedFileError(self._path, problem, REMEDY)
        return logs

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends log entries; once only, also if the disk fails after it has taken them."""
        logs = [{**log, CHECKSUM: _compute_checksum(log)} for log in logs]
        name = str(self._path)
        size = wait_for(lambda: self._path.stat().st_size, name, _is_disk_away)
        has_failed = False

        def append() -> None:
            nonlocal has_failed
            if has_failed and self._has_entries(logs, size):
                return
            has_failed = True  # unless the next line succeeds
            self._backend.append_logs(logs)

        wait_for(append, name, _is_disk_away)

    def _check_last_line(self) -> None:
        """Raises `ValueError` for a damaged last line, which Optuna takes for one being written."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            *lines, rest = file.read().split(b"\n")
        if not rest and len(lines) > 1:  # the first may be cut
            json.loads(lines[-1])

    def _has_entries(self, logs: list[dict[str, Any]], offset: int) -> bool:
        """Returns whether the file holds all entries after an offset; each names its process."""
        with self._path.open("rb") as file:
            file.seek(offset)
            lines = file.read().splitlines()
        entries = [json.loads(line) for line in lines if line.endswith(b"}")]
        return all(json.loads(json.dumps(log)) in entries for log in logs)


def _compute_checksum(log: dict[str, Any]) -> str:
    content = json.loads(json.dumps(log))  # as it is read again: keys are texts
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _is_disk_away(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in AWAY
