"""What a job does on its node, without a cluster."""

from ablate.launching import task


def test_a_node_on_which_no_worker_starts_in_time_is_reported() -> None:
    found = task.report(seconds=0.01)
    assert found["host"]
    assert (found["torch"], found["problem"]) == (None, "it took longer than 0.01 s")
