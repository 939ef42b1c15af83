"""Checkpoints: atomic, at most two on disk, and written without a copy in memory."""

import tracemalloc

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.training.checkpoint import Checkpoints


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step, "weights": torch.ones(1000)})
    newest = tmp_path / "step-000000030.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    state, [warning] = checkpoints.load()
    assert state["step"] == 20
    assert "step-000000030.pt is damaged" in warning


def test_saving_makes_no_copy_of_the_state_in_memory(tmp_path):
    state = {"weights": torch.ones(4_000_000)}
    tracemalloc.start()
    Checkpoints(tmp_path).save(10, state)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_two_attempts_may_delete_the_same_checkpoint(tmp_path):
    class Shared(Checkpoints):
        """Another attempt deletes the files between their listing and their deletion."""

        def _files(self):
            files = super()._files()
            for old in files[:-2]:
                old.unlink()
            return files

    for step in (10, 20, 30):
        Shared(tmp_path).save(step, {"step": step})
    assert len(list(tmp_path.iterdir())) == 2


def test_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-000000020.pt",
        "step-000000030.pt",
    ]


def test_a_checkpoint_is_due_after_a_pause(tmp_path):
    assert Checkpoints(tmp_path, min_seconds=0.0).is_due
    assert not Checkpoints(tmp_path, min_seconds=1000.0).is_due


def test_a_checkpoint_of_an_older_format_is_skipped_with_the_remedy(tmp_path):
    torch.save({"step": 10}, tmp_path / "step-000000010.pt")
    state, [warning] = Checkpoints(tmp_path).load()
    assert state is None
    assert "step-000000010.pt is damaged, or of another format than 4" in warning
    assert "resume such a one with the version that wrote it" in warning


@settings(max_examples=60)
@given(st.data())
def test_a_checkpoint_with_a_flipped_bit_is_never_loaded(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (10, 20):
        Checkpoints(folder).save(step, {"step": step, "weights": torch.arange(200.0)})
    newest = folder / "step-000000020.pt"
    content = bytearray(newest.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    newest.write_bytes(content)
    state, [warning] = Checkpoints(folder).load()
    assert state["step"] == 10
    assert "step-000000020.pt" in warning
