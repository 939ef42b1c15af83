"""A PostgreSQL server for the tests, and searches of a simple space."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.config.search_space import read_space
from ablate.config.tree import from_plain
from ablate.sweep.heartbeat import SweepProcess
from ablate.sweep.search import Search
from ablate.sweep.storage import open_storage

START_SECONDS = 60


def skip_or_fail(name: str, reason: str) -> None:
    """Skips a test, or fails it if `ABLATE_REQUIRE` names what is missing."""
    if name in os.environ.get("ABLATE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str) -> str | None:
    """Finds a program of PostgreSQL; Debian does not put them on the path."""
    paths = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(paths[-1]) if paths else shutil.which(name)


class Server:
    """A PostgreSQL server that can be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"postgresql+psycopg://ablate@127.0.0.1:{port}/postgres"
        self._folder, self._port = folder, port
        self._options: dict[str, Any] = {"cwd": "/"}
        if os.geteuid() == 0:  # PostgreSQL will not run as root
            shutil.chown(folder, "postgres", "postgres")
            self._options |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None

    def create(self, initdb: str) -> None:
        """Creates the files of the server."""
        arguments = ["-D", str(self._folder / "data"), "-U", "ablate", "-A", "trust", "--no-sync"]
        subprocess.run(
            [initdb, *arguments],
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
            **self._options,
        )

    def start(self, postgres: str) -> None:
        """Starts the server and waits until it accepts connections."""
        arguments = ["-D", str(self._folder / "data"), "-h", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(
            [postgres, *arguments, "-k", str(self._folder), "-c", "fsync=off"],
            stderr=subprocess.DEVNULL,
            **self._options,
        )
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(self._port) and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: SIGINT ends its connections, SIGQUIT at once and without cleanup."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that runs during the tests."""
    if "postgresql" not in os.environ.get("ABLATE_REQUIRE", "").split(","):
        pytest.skip("starts a PostgreSQL: set ABLATE_REQUIRE=postgresql")
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        skip_or_fail("postgresql", "needs PostgreSQL: apt-get install postgresql")
    with socket.create_server(("127.0.0.1", 0)) as server_socket:
        port = server_socket.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgresql-"))
    created = Server(folder, port)
    created.create(str(initdb))
    created.start(str(postgres))
    try:
        yield created
    finally:
        created.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql(server: Server) -> str:
    """The URL of a database that runs during the tests."""
    return server.url


def is_ready(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=ablate dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Search]:
    """Creates searches that share a journal, as separate processes would."""

    def make(dimensions: dict[str, Any], *, trials: int = 10, **settings: Any) -> Search:
        space = read_space(from_plain(dimensions, "study.yaml"))
        storage = open_storage(None, tmp_path / "sweep.journal")
        settings = {"sampler": "random", "process": SweepProcess(), **settings}
        return Search(storage, "a search", space=space, trials=trials, **settings)

    return make
