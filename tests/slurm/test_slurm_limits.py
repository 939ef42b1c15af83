"""A real SLURM whose limits are met: of the queue, of how often a job may return, of patience."""

from dataclasses import replace

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, record, wait_until, weights


def tell(job):
    """Tells a trial, once it trains, that its time is up."""
    wait_until(lambda: is_training(job))
    commands.call(["scancel", "--signal=USR2", slurm_queue.last(job.folder).number])


def test_a_trial_that_heeds_no_warning_is_killed_in_time_and_begins_again(site, workspace):
    [job] = workspace.jobs("stuck")
    cluster = workspace.cluster(signal_seconds=4)
    cluster.submit([job])
    wait_until(lambda: (workspace.folder / "was_stuck").exists())
    tell(job)
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "done"
    assert record(job)["attempt"] == 2
    assert weights(job) == workspace.uninterrupted(job)


def test_a_trial_whose_job_returns_too_often_fails_with_the_way_out(site, workspace):
    [job] = workspace.jobs("slow")
    cluster = workspace.cluster(max_requeues=1)
    cluster.submit([job])
    tell(job)
    wait_until(lambda: record(job).get("attempt") == 2)
    tell(job)
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "failed"
    assert outcome.reason.startswith(
        "timeout: requeued 1 times and still not done; raise `minutes`"
    )


def test_what_the_site_does_not_let_in_waits_until_there_is_room(strict_site, workspace):
    jobs = workspace.jobs(*["slow"] * 7, steps=2)
    cluster = workspace.cluster(max_array=3)
    submission = cluster.submit(jobs)
    assert (submission.jobs, len(submission.waiting)) == (3, 4)
    assert "Limit" in submission.words
    workspace.hurry()
    outcomes = workspace.follow(cluster, jobs, waiting=submission.waiting)
    assert [outcome.state for outcome in outcomes] == ["done"] * 7


def test_a_canary_whose_array_is_not_let_in_is_taken_back(strict_site, workspace):
    first, *rest = workspace.jobs("good", "good", "good")
    rest = [replace(job, levels={"encoder": "large"}) for job in rest]
    more = {"encoder": {"large": {"cpus": 2}}}
    later = {"begin": "now+600"}  # nothing of it is to run
    submission = workspace.cluster(levels=more, canary=True, sbatch=later).submit([first, *rest])
    try:
        assert (submission.jobs, submission.waiting) == (1, rest)
        in_queue = commands.call(["squeue", "-h", "-o", "%F"]).split()
        assert sorted(in_queue) == sorted([*submission.canaries, *submission.numbers])
    finally:
        commands.call(["scancel", *submission.canaries, *submission.numbers])
