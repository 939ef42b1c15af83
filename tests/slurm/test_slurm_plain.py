"""Tests on a real SLURM without accounting and with short arrays."""

from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, wait_until


def test_runs_beyond_the_array_limit_are_split_into_several_arrays(plain_site, workspace):
    jobs = workspace.jobs(*["good"] * 25, steps=2)
    cluster = workspace.cluster()
    assert len(cluster.submit(jobs).arrays) == 3
    assert {outcome.state for outcome in workspace.follow(cluster, jobs)} == {"done"}


def test_without_sacct_a_cancelled_job_still_ends(plain_site, workspace):
    jobs = workspace.jobs("slow", "good")
    cluster = workspace.cluster(parallel=1)
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    slurm_queue.cancel_jobs([slurm_queue.find_last_job(job.folder) for job in jobs])
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["cancelled"] * 2
