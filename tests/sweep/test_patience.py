"""A storage that is away for a while is waited for, and no point is lost or evaluated twice."""

import errno
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ablate.config.search_space import read_space
from ablate.config.tree import from_plain
from ablate.sweep import patience
from ablate.sweep.heartbeat import SweepProcess
from ablate.sweep.patience import PatientJournal, is_server_away, stop_waiting_if, wait_for
from ablate.sweep.search import Search
from ablate.sweep.storage import close_storage, open_storage
from tests.sweep.conftest import Server, find_program

POINTS = 60
SPACE = {"optimizer.rate": {"low": 1e-4, "high": 1.0, "log": True}}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.05)


class Fails:
    """A call that fails some times before it succeeds."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise OSError(errno.ESTALE, "Stale file handle")
        return "answer"


def is_any(error: Exception) -> bool:
    return True


def test_a_storage_that_comes_back_is_waited_for_with_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert wait_for(Fails(3), "S", is_any) == "answer"
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("storage S does not answer ([Errno 116] Stale file handle); waiting")
    assert last.startswith("storage S answers again after")


def test_the_wait_has_a_bound_and_ends_when_the_work_is_stopped() -> None:
    with pytest.raises(OSError, match="Stale"):
        wait_for(Fails(10**9), "S", is_any, patience=0.1)
    with stop_waiting_if(lambda: True), pytest.raises(OSError, match="Stale"):
        wait_for(Fails(1), "S", is_any)


@pytest.mark.parametrize(
    ("text", "is_away"),
    [
        ('connection to server at "127.0.0.1", port 5 failed: Connection refused', True),
        ("connection timeout expired", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is shutting down", True),
        ("FATAL:  terminating connection due to administrator command", True),
        ("FATAL:  sorry, too many clients already", True),
        ('FATAL:  password authentication failed for user "me"', False),
        ('FATAL:  database "x" does not exist', False),
        ("[Errno -2] Name or service not known", False),
        ("fe_sendauth: no password supplied", False),
    ],
)
def test_wrong_names_and_passwords_are_errors_at_once(text: str, is_away: bool) -> None:  # noqa: FBT001
    assert is_server_away(RuntimeError(text)) is is_away


class FailsAfterWriting(JournalFileBackend):
    """A disk that takes the entries, and then does not answer."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        super().append_logs(logs)
        if len(logs) == 1 and logs[0]["n"] == 1:
            raise OSError(errno.EIO, "Input/output error")


def test_an_entry_of_a_journal_is_written_once_although_the_disk_failed(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    journal = PatientJournal(file, FailsAfterWriting(str(file)))
    journal.append_logs([{"n": 0}])
    journal.append_logs([{"n": 1}])
    assert [json.loads(line)["n"] for line in file.read_text().splitlines()] == [0, 1]


def wait_until(is_true: Callable[[], bool]) -> None:
    """Waits for up to two minutes until a condition is true."""
    for _ in range(6000):
        if is_true():
            return
        time.sleep(0.02)
    pytest.fail("nothing happened for two minutes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_search_goes_on_after_a_restart_of_postgresql(
    server: Server, tmp_path: Path, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    space = read_space(from_plain(SPACE, "study.yaml"))
    errors: list[BaseException] = []
    completed: list[int] = []
    storages = [open_storage(server.url, tmp_path / "journal") for _ in range(3)]

    def work(storage: Any) -> None:
        try:
            search = Search(
                storage, number.name, space=space, trials=POINTS, process=SweepProcess(interval=0.2)
            )
            while not search.is_finished:
                point = search.next_point()
                if point is not None:
                    time.sleep(0.02)
                    search.complete(point, [float(point.number)], {})
                    completed.append(point.number)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(storage,)) for storage in storages]
    for thread in threads:
        thread.start()
    for share in (1 / 4, 1 / 2):
        wait_until(lambda least=share * POINTS: len(completed) >= least)
        before = caplog.text.count("does not answer")
        server.stop(number)
        # the search notices, and waits
        wait_until(lambda before=before: caplog.text.count("does not answer") > before)
        server.start(str(find_program("postgres")))
    for thread in threads:
        thread.join(120)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)
    search = Search(storages[0], number.name, space=space, trials=POINTS, process=SweepProcess())
    points = [trial for trial in search.study.trials if trial.state == TrialState.COMPLETE]
    assert len(points) == POINTS
    assert len({trial.params["optimizer.rate"] for trial in points}) == POINTS
    for storage in storages:
        close_storage(storage)
