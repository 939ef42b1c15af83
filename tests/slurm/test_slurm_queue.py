"""Handing runs to a real SLURM: arrays, canaries, cancelling, and sites that say no."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.core.io import read_json
from ablate.slurm import commands, reconcile
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import RefusedError
from tests.slurm.conftest import ALL_SECONDS, in_queue, queued, wait_until

GRANTED = re.compile(r"TRES=(cpu=\d+,mem=\w+)")
LATER = {"begin": "now+600"}  # a job that stays in the queue


def submissions(workspace):
    """Lists the folders of what was handed in, each with what its jobs read."""
    return [path for path in (workspace.folder / "reports" / "slurm").iterdir() if path.is_dir()]


def granted(job):
    """What the site says that it gives a job."""
    said = commands.call(["scontrol", "-o", "show", "job", slurm_queue.last(job.folder).job])
    return GRANTED.search(said)[1]


def test_a_cancelled_pending_task_ends(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs)
    slurm_queue.cancel([slurm_queue.last(jobs[1].folder)])
    [outcome] = workspace.follow(cluster, jobs[1:])
    assert outcome.state == "cancelled"
    assert queued(jobs[0], "%T") == "PENDING"


def test_a_cancelled_array_ends(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    slurm_queue.cancel(
        slurm_queue.Submitted(number, "", "") for number in cluster.submit(jobs).numbers
    )
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["cancelled"] * 2


def test_what_is_in_the_queue_is_not_submitted_again(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs[:1])
    second = cluster.submit(jobs)
    assert (second.jobs, second.already) == (1, 1)


def test_a_number_that_was_given_to_somebody_else_is_not_taken_for_ours(site, workspace):
    [job] = workspace.jobs("good")
    number = commands.call(
        ["sbatch", "--parsable", "--begin=now+600", "-J", "theirs", "--wrap", "true"]
    ).strip()
    try:
        slurm_queue.remember(
            job.folder, slurm_queue.Submitted(number, "test-0", "/nowhere/logs/log")
        )
        assert slurm_queue.places([slurm_queue.last(job.folder)]) == {}
    finally:
        commands.call(["scancel", number])


def test_a_refused_partition_is_told_in_the_words_of_the_site(site, workspace):
    jobs = workspace.jobs("good")
    with pytest.raises(RefusedError, match="invalid partition specified: moon"):
        workspace.cluster(partition="moon", canary=True).submit(jobs)
    assert in_queue() == []
    assert submissions(workspace) == []


def test_code_that_is_edited_after_submission_changes_no_queued_trial(site, workspace):
    jobs = workspace.jobs("good")
    cluster = workspace.cluster(sbatch=LATER)
    [number] = cluster.submit(jobs).numbers
    Path("slurm_guest.py").write_text("a typo\n")
    commands.call(["scontrol", "update", f"JobId={number}", "StartTime=now"])
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done"]


def test_a_canary_that_lives_lets_the_array_in(site, workspace):
    jobs = workspace.jobs("slow", "slow")
    cluster = workspace.cluster(canary=True)
    submission = cluster.submit(jobs)
    assert len(submission.canaries) == 1
    slurm = workspace.folder / "reports" / "slurm"
    [again] = wait_until(lambda: list(slurm.glob("*/canary-*/*/attempts/002")), ALL_SECONDS)
    assert "preempted" in (again.parent / "001" / "log.txt").read_text()  # it was told to stop
    workspace.hurry()
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]
    found = read_json(again.parents[1] / "run.json")
    assert (found["state"], found["cost"]["steps"], found["attempt"]) == ("done", 12, 2)


def test_runs_of_a_level_that_needs_more_get_it_and_the_others_do_not(site, workspace):
    jobs = workspace.jobs("good", "good")
    jobs[1] = replace(jobs[1], levels={"encoder": "large"})
    more = {"encoder": {"large": {"cpus": 2, "memory": "2G"}}}
    cluster = workspace.cluster(levels=more)
    assert len(cluster.submit(jobs).numbers) == 2
    assert [granted(job) for job in jobs] == ["cpu=1,mem=1500M", "cpu=2,mem=2G"]
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]


def test_a_group_that_the_site_refuses_keeps_the_others_out(site, workspace):
    jobs = workspace.jobs("good", "good")
    jobs[1] = replace(jobs[1], levels={"encoder": "large"})
    with pytest.raises(RefusedError, match="invalid partition specified: moon"):
        workspace.cluster(levels={"encoder": {"large": {"partition": "moon"}}}).submit(jobs)
    assert in_queue() == []
    assert submissions(workspace) == []


def test_a_canary_that_dies_keeps_the_array_out(site, workspace):
    jobs = workspace.jobs("raises", "raises")
    cluster = workspace.cluster(canary=True)
    cluster.submit(jobs)
    outcomes = workspace.follow(cluster, jobs)
    assert [outcome.state for outcome in outcomes] == ["cancelled"] * 2
    assert "canary failed, so nothing was run: error: RuntimeError" in outcomes[0].reason
    assert not (jobs[0].folder / "attempts").exists()
    assert slurm_queue.places(slurm_queue.last(job.folder) for job in jobs) == {}
    trace = reconcile.canary_trace(slurm_queue.last(jobs[0].folder))
    assert any("slurm_guest.py" in line for line in trace)
