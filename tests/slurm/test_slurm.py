"""Runs on a real SLURM: what becomes of them, whatever happens to their jobs and nodes."""

import pytest

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, queued, record, wait_until, weights


def number(job):
    return slurm_queue.last(job.folder).job


def restarts(job):
    return record(job)["attempt"] - 1


@pytest.fixture(scope="module")
def array(site, shared_workspace):
    """An array of trials, most of which something happens to: by name, with their outcomes."""
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
    commands.call(["scancel", "--signal=USR2", queued(jobs["signalled"], "%A")])
    commands.call(["scontrol", "requeue", queued(jobs["requeued"], "%A")])
    commands.call(["scancel", number(jobs["cancelled"])])
    for name in ("signalled", "requeued"):
        wait_until(lambda name=name: restarts(jobs[name]) == 1)
    shared_workspace.hurry()
    outcomes = shared_workspace.follow(cluster, list(jobs.values()))
    return dict(zip(jobs, outcomes, strict=True))


def test_a_trial_ends_as_it_does_here(array, shared_workspace):
    outcome = array["left alone"]
    assert (outcome.state, outcome.trained) == ("done", True)
    assert weights(outcome.job) == shared_workspace.uninterrupted(outcome.job)


@pytest.mark.parametrize("name", ["signalled", "requeued"])
def test_a_trial_that_is_queued_again_goes_on_to_the_same_weights(array, shared_workspace, name):
    job = array[name].job
    assert array[name].state == "done"
    assert restarts(job) == 1
    assert weights(job) == shared_workspace.uninterrupted(job)


def test_a_running_job_that_is_cancelled_says_so(array):
    assert array["cancelled"].state == "cancelled"
    assert array["cancelled"].reason.startswith("the job was cancelled (job ")


def test_a_trial_that_raises_fails_with_its_words(array):
    assert array["raises"].state == "failed"
    assert array["raises"].reason == "error: RuntimeError: a step too far"


def test_a_trial_whose_process_ends_by_itself_fails_with_its_exit_code(array):
    assert array["exits"].state == "failed"
    assert array["exits"].reason.startswith("error: the trial's process ended with exit code 3")


def test_a_trial_that_takes_too_much_memory_fails_for_it(array):
    assert array["eats"].state == "failed"
    assert array["eats"].reason.startswith("oom: ")
