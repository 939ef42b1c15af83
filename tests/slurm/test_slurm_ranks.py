"""A real SLURM, on whose two nodes one trial is trained together."""

import torch
from safetensors.torch import load

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, record, wait_until, weights


def assert_same(job, workspace):
    """Sums over ranks are rounded otherwise than sums over a batch; no more may differ."""
    found = load(weights(job))
    for name, value in load(workspace.uninterrupted(job)).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


def test_two_nodes_train_what_one_process_trains(site, workspace):
    [job] = workspace.jobs("good")
    cluster = workspace.cluster(nodes=2)
    cluster.submit([job])
    [outcome] = workspace.follow(cluster, [job])
    assert (outcome.state, outcome.reason) == ("done", None)
    assert record(job)["ranks"] == 2
    assert_same(job, workspace)


def test_two_nodes_that_are_told_to_stop_save_their_trial_and_go_on(site, workspace):
    [job] = workspace.jobs("slow")
    cluster = workspace.cluster(nodes=2)
    cluster.submit([job])
    wait_until(lambda: is_training(job))
    commands.call(["scancel", "--signal=USR2", slurm_queue.last(job.folder).number])
    wait_until(lambda: record(job)["attempt"] == 2)
    workspace.hurry()
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "done"
    assert record(job)["attempt"] == 2
    assert_same(job, workspace)
