"""Shared fixtures: one thread, reproducible examples, a browser, and skips of unmet needs."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

CHROMIUM = (  # options to start it as root and offline
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LONGEST = (
    "slurm",
    "maskers/test_contract.py",
    "test_recipes.py",
    "worker/test_resuming.py",
    "worker/test_ranks.py",
    "test_published.py",
    "sweep/test_workers.py",
    "report/test_findings.py",
)
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=40)
settings.register_profile(
    "dev", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
for folder in (
    "ABLATE_RUNS",
    "ABLATE_REPORTS",
    "ABLATE_CACHE",
):  # tests must not touch the user's folders
    os.environ.pop(folder, None)
os.environ.pop("COLUMNS", None)  # pytest-xdist sets a width, which tables would use


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _handle_interrupts() -> None:
    """Restores Ctrl-C: shells start background processes, and their children, ignoring SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _hide_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the SLURM of other tests, which goes on until their process ends."""
    if _get_group(request.node) != "slurm":
        monkeypatch.delenv("SLURM_CONF", raising=False)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes to an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Starts a headless Chromium; without one, skips the test, or fails it if required."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if "chromium" in os.environ.get("ABLATE_REQUIRE", "").split(","):
            pytest.fail("needs Chromium: apt-get install chromium")
        pytest.skip("needs Chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        chrome = play.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
        yield chrome
        chrome.close()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for `-n`: one process runs all tests of a file, and all SLURM tests.

    The longest groups start first, so that no process is left with one at the end.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_get_group(item)))
    position = {group: number for number, group in enumerate(LONGEST)}
    items.sort(key=lambda item: position.get(_get_group(item), len(LONGEST)))
    _skip_gpu_tests(items)


def _get_group(item: pytest.Item) -> str:
    if item.path.name.startswith("test_slurm"):
        return "slurm"
    return item.path.relative_to(Path(__file__).parent).as_posix()


def _skip_gpu_tests(items: list[pytest.Item]) -> None:
    """Skips GPU tests on a machine without a GPU, unless `ABLATE_REQUIRE` names `gpu`."""
    required = os.environ.get("ABLATE_REQUIRE", "").split(",")
    gpu = torch.cuda.is_available() or "gpu" in required
    for item in items:
        if item.get_closest_marker("gpu") and not gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
