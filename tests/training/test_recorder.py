"""What a run leaves for TensorBoard while it trains."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from ablate.training.online_probe import Standing
from ablate.training.recorder import Record


@pytest.mark.parametrize("count", [0, 9])  # names count files: `.10` is read before `.9`
def test_attempts_of_one_second_are_read_in_their_order(tmp_path, monkeypatch, count):
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(count))
    for done in range(3):
        with Record(tmp_path, 9, done=done) as record:
            record.write(None, Standing(done + 1, {"digits": 50.0}))
    board = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [event.step for event in board.Scalars("online/score")] == [1, 2, 3]
