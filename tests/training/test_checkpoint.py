"""Checkpoints: atomic, at most two on disk, and written without a copy in memory."""

import tracemalloc

import torch

from ablate.training.checkpoint import Checkpoints


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step, "weights": torch.ones(1000)})
    newest = tmp_path / "step-000000030.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    state, [warning] = checkpoints.load()
    assert state["step"] == 20
    assert "step-000000030.pt cannot be read" in warning


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
    assert "step-000000010.pt has format 1" in warning
    assert "resume with the version that wrote it" in warning
