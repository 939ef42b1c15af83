"""What all tests share: one thread, reproducible examples, and skips that can be forbidden."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

CHROMIUM = (  # what it is started with, as root and offline
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=40)
settings.register_profile(
    "dev", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
for folder in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):  # no test may touch the user's own
    os.environ.pop(folder, None)
os.environ.pop("COLUMNS", None)  # a test process of `-n` is told a width, and tables would obey it


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _hears_interrupts() -> None:
    """A shell starts what runs in the background deaf to SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips, or fails where it is required, when there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if "chromium" in os.environ.get("ABLATE_REQUIRE", "").split(","):
            pytest.fail("needs Chromium: apt-get install chromium")
        pytest.skip("needs Chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
        yield started
        started.close()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for `-n`: a file stays with one process, and so does the one SLURM cluster."""
    for item in items:
        group = "slurm" if item.path.name.startswith("test_slurm") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    _skip_what_is_lacking(items)


def _skip_what_is_lacking(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU on a machine without one, unless `ABLATE_REQUIRE` names it."""
    required = os.environ.get("ABLATE_REQUIRE", "").split(",")
    gpu = torch.cuda.is_available() or "gpu" in required
    for item in items:
        if item.get_closest_marker("gpu") and not gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
