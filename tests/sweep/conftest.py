"""A PostgreSQL server for the tests, and searches of a simple space."""

import os
import shutil
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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database that runs during the tests."""
    if "postgresql" not in os.environ.get("ABLATE_REQUIRE", "").split(","):
        pytest.skip("starts a PostgreSQL: set ABLATE_REQUIRE=postgresql")
    initdb, postgres = find_program("initdb"), find_program("postgres")
    if initdb is None or postgres is None:
        skip_or_fail("postgresql", "needs PostgreSQL: apt-get install postgresql")
    with socket.create_server(("127.0.0.1", 0)) as server_socket:
        port = server_socket.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgresql-"))
    user_options: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL will not run as root
        shutil.chown(folder, "postgres", "postgres")
        user_options = {"user": "postgres", "group": "postgres", "extra_groups": []}
    initialise = [initdb, "-D", str(folder / "data"), "-U", "ablate", "-A", "trust", "--no-sync"]
    serve = [postgres, "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port)]
    subprocess.run(
        initialise, check=True, capture_output=True, timeout=START_SECONDS, cwd="/", **user_options
    )
    server = subprocess.Popen(
        [*serve, "-k", str(folder), "-c", "fsync=off"],
        stderr=subprocess.DEVNULL,
        cwd="/",
        **user_options,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(port) and time.monotonic() < deadline and server.poll() is None:
            time.sleep(0.1)
        yield f"postgresql+psycopg://ablate@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


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
