"""A PostgreSQL of the tests' own, and searches of a plain space."""

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
from ablate.sweep.heartbeat import Presence
from ablate.sweep.search import Search
from ablate.sweep.storage import open_storage

START_SECONDS = 60


def lacking(name: str, reason: str) -> None:
    """Skips a test, unless `ABLATE_REQUIRE` names what it lacks."""
    if name in os.environ.get("ABLATE_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> str | None:
    """Finds a program of PostgreSQL; Debian keeps them off the path."""
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(there[-1]) if there else shutil.which(name)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database that is there as long as the tests."""
    if "postgresql" not in os.environ.get("ABLATE_REQUIRE", "").split(","):
        pytest.skip("starts a PostgreSQL: set ABLATE_REQUIRE=postgresql")
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        lacking("postgresql", "needs PostgreSQL: apt-get install postgresql")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgresql-"))
    other: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL will not run as root
        shutil.chown(folder, "postgres", "postgres")
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    make = [initdb, "-D", str(folder / "data"), "-U", "ablate", "-A", "trust", "--no-sync"]
    serve = [postgres, "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port)]
    subprocess.run(make, check=True, capture_output=True, timeout=START_SECONDS, cwd="/", **other)
    server = subprocess.Popen(
        [*serve, "-k", str(folder), "-c", "fsync=off"], stderr=subprocess.DEVNULL, cwd="/", **other
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(port) and time.monotonic() < deadline and server.poll() is None:
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


def answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=ablate dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Search]:
    """Makes one taker of points; all share a journal, as processes would."""

    def make(dimensions: dict[str, Any], *, trials: int = 10, **settings: Any) -> Search:
        space = read_space(from_plain(dimensions, "here"))
        storage = open_storage(None, tmp_path / "sweep.journal")
        settings = {"sampler": "random", "presence": Presence(), **settings}
        return Search(storage, "a search", space=space, trials=trials, **settings)

    return make
