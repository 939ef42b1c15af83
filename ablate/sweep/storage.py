"""Where a sweep is kept: a journal file, SQLite, or PostgreSQL by URL."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import sqlalchemy.exc
from filelock import FileLock
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ablate.config.sweep import SweepError

CONNECT_SECONDS = 5  # for a server to answer
CREATE_SECONDS = 60  # while another process makes the tables, or has SQLite's file locked
optuna.logging.set_verbosity(optuna.logging.WARNING)


class StorageError(SweepError):
    """The storage of a sweep cannot be used."""


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """Opens a storage by its URL, or the journal file where that is None.

    Raises `StorageError` where it cannot be used: for a server that does not answer, after
    `CONNECT_SECONDS`; and `filelock.Timeout` where another process makes the tables for longer
    than `CREATE_SECONDS`.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with reachable(url or str(journal)):
        if url is None:
            # a lock that stands on network file systems, too
            lock = JournalFileOpenLock(str(journal))
            return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        remote = url.startswith("postgres")
        options = {"connect_timeout": CONNECT_SECONDS} if remote else {"timeout": CREATE_SECONDS}
        engine = {"connect_args": options, "pool_pre_ping": True}
        # tables are not made by two at once
        with FileLock(journal.with_name(f".{journal.name}.create"), timeout=CREATE_SECONDS):
            return optuna.storages.RDBStorage(url, engine_kwargs=engine)


def close_storage(storage: BaseStorage) -> None:
    """Closes a storage's connections; a journal file has none."""
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def reachable(where: str) -> Iterator[None]:
    """Turns what a storage can raise while inside into a `StorageError` with the way out."""
    try:
        yield
    except ModuleNotFoundError as error:
        advice = "pip install 'ablate[postgres]'"
        raise StorageError(f"the storage {_shown(where)} needs `{error.name}`: {advice}") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        first = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        advice = "runs that are done are kept"
        raise StorageError(f"the storage {_shown(where)} fails: {first}; {advice}") from error
    except json.JSONDecodeError as error:
        advice = "delete it and run again: it is rebuilt from the runs"
        raise StorageError(f"the journal {where} cannot be read ({error}); {advice}") from error


def _shown(url: str) -> str:
    """Leaves out the password of a URL."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
