"""Tests on a real SLURM of limits: on queued jobs, on requeues, and on the time to save."""

from dataclasses import replace

from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from tests.slurm.conftest import is_training, record, wait_until, weights


def warn(job):
    """Sends the time-limit signal to a trial once it trains."""
    wait_until(lambda: is_training(job))
    commands.run_command(["scancel", "--signal=USR2", slurm_queue.find_last_job(job.folder).number])


def test_a_trial_that_ignores_the_signal_is_killed_and_starts_again(site, workspace):
    [job] = workspace.jobs("stuck")
    cluster = workspace.cluster(signal_seconds=4)
    cluster.submit([job])
    wait_until(lambda: (workspace.folder / "was_stuck").exists())
    warn(job)
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "done"
    assert record(job)["attempt"] == 2
    assert weights(job) == workspace.train_locally(job)


def test_a_trial_requeued_too_often_fails_with_the_remedy(site, workspace):
    [job] = workspace.jobs("slow")
    cluster = workspace.cluster(max_requeues=1)
    cluster.submit([job])
    warn(job)
    wait_until(lambda: record(job).get("attempt") == 2)
    warn(job)
    [outcome] = workspace.follow(cluster, [job])
    assert outcome.state == "failed"
    assert outcome.reason.startswith(
        "timeout: requeued 1 times and still not done; raise `minutes`"
    )


def test_runs_beyond_the_queue_limit_are_submitted_later(strict_site, workspace):
    jobs = workspace.jobs(*["slow"] * 7, steps=2)
    cluster = workspace.cluster(max_array=3)
    submission = cluster.submit(jobs)
    assert (submission.num_runs, len(submission.waiting)) == (3, 4)
    assert "Limit" in submission.limit
    workspace.hurry()
    outcomes = workspace.follow(cluster, jobs, waiting=submission.waiting)
    assert [outcome.state for outcome in outcomes] == ["done"] * 7


def test_a_canary_whose_array_exceeds_the_limit_is_cancelled(strict_site, workspace):
    first, *rest = workspace.jobs("good", "good", "good")
    rest = [replace(job, levels={"encoder": "large"}) for job in rest]
    more = {"encoder": {"large": {"cpus": 2}}}
    later = {"begin": "now+600"}  # none of it runs
    submission = workspace.cluster(levels=more, canary=True, sbatch=later).submit([first, *rest])
    try:
        assert (submission.num_runs, submission.waiting) == (1, rest)
        queued = commands.run_command(["squeue", "-h", "-o", "%F"]).split()
        assert sorted(queued) == sorted([*submission.canaries, *submission.arrays])
    finally:
        commands.run_command(["scancel", *submission.canaries, *submission.arrays])
