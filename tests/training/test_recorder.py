"""The TensorBoard files of a run."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from ablate.training.online_probe import ProbeResult
from ablate.training.recorder import Recorder


@pytest.mark.parametrize("count", [0, 9])  # file names hold a counter: `.10` sorts before `.9`
def test_attempts_within_one_second_are_read_in_order(tmp_path, monkeypatch, count):
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(count))
    for done in range(3):
        with Recorder(tmp_path, 9, done=done) as recorder:
            recorder.write(None, ProbeResult(done + 1, {"digits": 50.0}))
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [event.step for event in events.Scalars("online/score")] == [1, 2, 3]
