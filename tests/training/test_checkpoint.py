"""Checkpoints: the last two, whole, and held in memory once."""

import tracemalloc

import torch

from ablate.training.checkpoint import Checkpoints


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": step, "weights": torch.ones(1000)})
    newest = tmp_path / "step-000000030.pt"
    newest.write_bytes(newest.read_bytes()[:500])
    state, [warning] = checkpoints.load()
    assert state["step"] == 20
    assert "step-000000030.pt cannot be read" in warning


def test_a_checkpoint_is_never_held_beside_its_state(tmp_path):
    state = {"weights": torch.ones(4_000_000)}
    tracemalloc.start()
    Checkpoints(tmp_path).save(10, state)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


def test_two_attempts_may_drop_the_same_checkpoint(tmp_path):
    class Shared(Checkpoints):
        """One beside which a superseded attempt drops what it lists."""

        def _files(self):
            found = super()._files()
            for old in found[:-2]:
                old.unlink()
            return found

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
    assert Checkpoints(tmp_path, least_seconds=0.0).due
    assert not Checkpoints(tmp_path, least_seconds=1000.0).due
