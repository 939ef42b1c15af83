"""Tests of how runs end on a real SLURM, whatever happens to their jobs."""

import pytest

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, query_job, record, wait_until, weights


def find_job_id(job):
    return slurm_queue.find_last_job(job.folder).job_id


def count_restarts(job):
    return record(job)["attempt"] - 1


@pytest.fixture(scope="module")
def array(site, shared_workspace):
    """The outcomes of the trials of one array, by what happens to each."""
    kinds = {
        "left alone": "good",
        "signalled": "slow",
        "requeued": "slow",
        "cancelled": "slow",
        "raises": "raises",
        "exits": "exits",
        "eats": "eats",
    }
    jobs = dict(zip(kinds, shared_workspace.jobs(*kinds.values()), strict=True))
    cluster = shared_workspace.cluster()
    cluster.submit(list(jobs.values()))
    for name in ("signalled", "requeued", "cancelled"):
        wait_until(lambda name=name: is_training(jobs[name]))
    commands.run_command(["scancel", "--signal=USR2", query_job(jobs["signalled"], "%A")])
    commands.run_command(["scontrol", "requeue", query_job(jobs["requeued"], "%A")])
    commands.run_command(["scancel", find_job_id(jobs["cancelled"])])
    for name in ("signalled", "requeued"):
        wait_until(lambda name=name: count_restarts(jobs[name]) == 1)
    shared_workspace.hurry()
    outcomes = shared_workspace.follow(cluster, list(jobs.values()))
    return dict(zip(jobs, outcomes, strict=True))


def test_a_trial_on_a_cluster_has_the_same_weights_as_a_local_one(array, shared_workspace):
    outcome = array["left alone"]
    assert (outcome.state, outcome.trained) == ("done", True)
    assert weights(outcome.job) == shared_workspace.train_locally(outcome.job)


@pytest.mark.parametrize("name", ["signalled", "requeued"])
def test_a_requeued_trial_resumes_to_the_same_weights(array, shared_workspace, name):
    job = array[name].job
    assert array[name].state == "done"
    assert count_restarts(job) == 1
    assert weights(job) == shared_workspace.train_locally(job)


def test_a_run_whose_job_is_cancelled_is_cancelled(array):
    assert array["cancelled"].state == "cancelled"
    assert array["cancelled"].reason.startswith("the job was cancelled (job ")


def test_a_trial_that_raises_fails_with_its_message(array):
    assert array["raises"].state == "failed"
    assert array["raises"].reason == "error: RuntimeError: a step too far"


def test_a_trial_whose_process_ends_by_itself_fails_with_its_exit_code(array):
    assert array["exits"].state == "failed"
    assert array["exits"].reason.startswith("error: the trial's process ended with exit code 3")


def test_a_trial_that_takes_too_much_memory_fails_for_it(array):
    assert array["eats"].state == "failed"
    assert array["eats"].reason.startswith("oom: ")


def test_trials_side_by_side_are_requeued_together_and_end_with_the_same_weights(site, workspace):
    jobs = workspace.jobs("slow", "slow", "good")
    cluster = workspace.cluster(trials_per_job=3, trials_at_once=2, memory="700M")
    cluster.submit(jobs)
    wait_until(lambda: all(map(is_training, jobs[:2])))
    commands.run_command(["scancel", "--signal=USR2", query_job(jobs[0], "%A")])
    wait_until(lambda: all(count_restarts(job) == 1 for job in jobs[:2]))
    workspace.hurry()
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done"] * 3
    assert [weights(job) for job in jobs] == [workspace.train_locally(job) for job in jobs]
