"""The beat of a run."""

import resource
import time
from pathlib import Path

import pytest

from ablate.runs import heartbeat

BOUND = 30.0  # seconds, in which a beat every hundredth of one is seen


def beats(folder: Path, seconds: float) -> bool:
    """Waits until a run's count is another; tells whether it was in time."""
    file, deadline = folder / heartbeat.HEARTBEAT_FILE, time.monotonic() + seconds
    before = file.read_text()
    while (same := file.read_text() == before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not same


def test_a_beat_that_cannot_be_written_is_left_out_and_the_next_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with heartbeat.HeartbeatWriter(tmp_path):
        assert beats(tmp_path, BOUND)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # refuses as a full disk does
        try:
            while beats(tmp_path, 0.2):
                pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert beats(tmp_path, BOUND)


def test_a_run_whose_first_beat_cannot_be_written_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OSError, match="run"), heartbeat.HeartbeatWriter(tmp_path / "run"):
        pass
