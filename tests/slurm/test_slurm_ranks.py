"""Tests on a real SLURM of a trial that trains on two nodes."""

import torch
from safetensors.torch import load

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, record, wait_until, weights


def assert_same(job, workspace):
    """Compares weights up to the rounding of sums over ranks instead of over a batch."""
    distributed = load(weights(job))
    for name, value in load(workspace.train_locally(job)).items():
        torch.testing.assert_close(distributed[name], value, rtol=0, atol=1e-5)


def test_two_nodes_train_the_same_weights_as_one_process(site, workspace):
    [job] = workspace.jobs("good")
    cluster = workspace.cluster(nodes=2)
    cluster.submit([job])
    [outcome] = workspace.follow(cluster, [job])
    assert (outcome.state, outcome.reason) == ("done", None)
    assert record(job)["ranks"] == 2
    assert_same(job, workspace)


def test_two_nodes_that_are_signalled_save_and_resume(site, workspace):
    [job] = workspace.jobs("slow")
    cluster = workspace.cluster(nodes=2)
    cluster.submit([job])
    wait_until(lambda: is_training(job))
    commands.run_command(["scancel", "--signal=USR2", slurm_queue.find_last_job(job.folder).number])
    wait_until(lambda: record(job)["attempt"] == 2)
    workspace.hurry()
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "done"
    assert record(job)["attempt"] == 2
    assert_same(job, workspace)
