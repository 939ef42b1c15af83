"""The heartbeat of a run."""

import resource
import time
from pathlib import Path

import pytest

from ablate.runs import heartbeat

TIMEOUT = 30.0  # seconds, for a counter that rises every 0.01 s


def rises(folder: Path, seconds: float) -> bool:
    """Waits until the counter changes; returns whether it did within `seconds`."""
    file, deadline = folder / heartbeat.HEARTBEAT_FILE, time.monotonic() + seconds
    before = file.read_text()
    while (same := file.read_text() == before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not same


def test_a_count_that_cannot_be_written_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with heartbeat.HeartbeatWriter(tmp_path):
        assert rises(tmp_path, TIMEOUT)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # refuses as a full disk does
        try:
            while rises(tmp_path, 0.2):
                pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert rises(tmp_path, TIMEOUT)


def test_a_run_whose_first_count_cannot_be_written_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OSError, match="run"), heartbeat.HeartbeatWriter(tmp_path / "run"):
        pass
