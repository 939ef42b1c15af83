"""Opens the storage of a sweep: a journal file, SQLite, or PostgreSQL by URL."""

import contextlib
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.event
import sqlalchemy.exc
from filelock import FileLock
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from ablate.config.sweep import SweepError
from ablate.core.distribution import format_install_command
from ablate.core.environment import MissingVariableError, replace_references
from ablate.core.io import DamagedFileError
from ablate.sweep import patience
from ablate.sweep.patience import PatientJournal, create_connector, is_server_away, wait_for

CONNECT_SECONDS = 5  # timeout of a database server
CREATE_SECONDS = 60  # timeout while another process creates the tables or locks the SQLite file
optuna.logging.set_verbosity(optuna.logging.WARNING)
# once for the process: `warnings.catch_warnings` may not be used in several threads
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class StorageError(SweepError):
    """The storage of a sweep cannot be used."""


def open_storage(url: str | None, journal: Path) -> BaseStorage:
    """Opens a storage by its URL, or the journal file if `url` is None.

    Raises:
        StorageError: The storage cannot be used; a server that is away is waited for, see
            `ablate.sweep.patience`. Or an environment variable in the URL, `${NAME}`, is not set.
        filelock.Timeout: Another process takes longer than `CREATE_SECONDS` to create the tables.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with storage_errors(url or str(journal)):
        if url is None:
            # this lock works on network file systems, too
            lock = JournalFileOpenLock(str(journal))
            backend = JournalFileBackend(str(journal), lock_obj=lock)
            return optuna.storages.JournalStorage(PatientJournal(journal, backend))
        name, url = remove_password(url), _expand_variables(url)
        remote = url.startswith("postgres")
        options = {"connect_timeout": CONNECT_SECONDS} if remote else {"timeout": CREATE_SECONDS}
        engine = {"connect_args": options, "pool_pre_ping": True}
        # only one process may create the tables
        with FileLock(journal.with_name(f".{journal.name}.create"), timeout=CREATE_SECONDS):
            storage = _create(url, engine, name)
        if remote:
            sqlalchemy.event.listen(storage.engine, "do_connect", create_connector(name))
        return storage


def _create(url: str, options: Mapping[str, Any], name: str) -> optuna.storages.RDBStorage:
    """Connects to a database, and waits for a server that is away."""

    def is_away(error: Exception) -> bool:
        cause = error.__cause__ or error
        return isinstance(cause, sqlalchemy.exc.OperationalError) and is_server_away(cause)

    def create() -> optuna.storages.RDBStorage:
        return optuna.storages.RDBStorage(url, engine_kwargs=dict(options))

    if not url.startswith("postgres"):
        return create()
    return wait_for(create, name, is_away, patience.OPEN_SECONDS)


def close_storage(storage: BaseStorage) -> None:
    """Closes the connections of a storage; a journal file has none."""
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def storage_errors(name: str) -> Iterator[None]:
    """Converts the exceptions of a storage into `StorageError` with the remedy.

    `name` is the URL or the journal file, for the message; a password in it is removed.
    """
    url = remove_password(name)
    try:
        yield
    except ModuleNotFoundError as error:
        advice = format_install_command("postgres")
        raise StorageError(f"storage {url} needs `{error.name}`: {advice}") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        first = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        advice = "finished runs are kept"
        raise StorageError(f"storage {url} failed: {first}; {advice}") from error
    except DamagedFileError as error:
        raise StorageError(f"the journal {error}") from error


def _expand_variables(url: str) -> str:
    """Replaces each `${NAME}` by the environment variable, quoted for a URL."""
    try:
        return replace_references(url, partial(urllib.parse.quote, safe=""))
    except MissingVariableError as error:
        raise StorageError(f"storage {remove_password(url)} needs {error}") from error


def remove_password(url: str) -> str:
    """Returns a URL without user, password and options."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"
