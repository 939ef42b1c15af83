"""Tests that studies survive a full disk, a second controller and a lack of file handles.

They run whole studies, and only on request: `ABLATE_FAULTS=1`. The full disk needs root.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ablate.core.io import find_json
from tests.faults.test_kills import WAIT_SECONDS, complete, read_results, start

pytestmark = pytest.mark.skipif(
    "ABLATE_FAULTS" not in os.environ, reason="runs whole studies; asked for with ABLATE_FAULTS=1"
)


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a study without faults, and the cache of its clips."""
    folder, cache = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("cache")
    assert complete(folder, cache) == 0
    return folder, cache


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def list_states(folder: Path) -> set[str]:
    records = [find_json(path) for path in folder.glob("runs/*/run.json")]
    return {record["state"] for record in records if record}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk, which needs root")
@pytest.mark.parametrize("size", ["64k", "128k", "192k"])
def test_a_full_disk_fails_no_trial_and_the_study_continues_later(
    finished_study: tuple[Path, Path], tmp_path: Path, size: str
) -> None:
    folder, cache = finished_study
    with small_disk(tmp_path / "runs", size):
        assert complete(tmp_path, cache) == 1
        assert "failed" not in list_states(tmp_path)
        log = (tmp_path / "log").read_text()
        assert "No space left on device" in log
        assert f"{tmp_path}/runs" in log
        more = ["mount", "-o", "remount,size=64m", tmp_path / "runs"]
        subprocess.run(more, check=True)
        assert complete(tmp_path, cache) == 0, (tmp_path / "log").read_text()
        assert read_results(tmp_path) == read_results(folder)


def test_two_controllers_share_the_runs_of_a_study(
    finished_study: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, cache = finished_study
    controllers = [start(tmp_path, cache) for _ in range(2)]
    assert [controller.wait(WAIT_SECONDS) for controller in controllers] == [0, 0]
    assert read_results(tmp_path) == read_results(folder)
    assert {len(list(path.iterdir())) for path in tmp_path.glob("runs/*/attempts")} == {1}


@pytest.mark.parametrize("limit", [14, 24, 40])
def test_a_lack_of_file_handles_fails_no_trial(
    finished_study: tuple[Path, Path], tmp_path: Path, limit: int
) -> None:
    folder, cache = finished_study
    controller = start(tmp_path, cache, "bash", "-c", f'ulimit -n {limit}; exec "$@"', "-")
    assert controller.wait(WAIT_SECONDS) in (0, 1)
    assert "failed" not in list_states(tmp_path)
    assert complete(tmp_path, cache) == 0, (tmp_path / "log").read_text()
    assert read_results(tmp_path) == read_results(folder)
