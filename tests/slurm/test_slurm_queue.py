"""Tests of submitting runs to a real SLURM: arrays, canaries, cancelling, refusals."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.core.io import read_json
from ablate.slurm import commands, reconcile
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError
from tests.slurm.conftest import ALL_SECONDS, list_queue, query_job, wait_until

GRANTED = re.compile(r"TRES=(cpu=\d+,mem=\w+)")
LATER = {"begin": "now+600"}  # such a job stays in the queue


def list_submissions(workspace):
    """Lists the folders of submissions."""
    return [path for path in (workspace.folder / "reports" / "slurm").iterdir() if path.is_dir()]


def query_granted(job):
    """Returns the resources that SLURM allocates to a job."""
    output = commands.run_command(
        ["scontrol", "-o", "show", "job", slurm_queue.find_last_job(job.folder).job_id]
    )
    return GRANTED.search(output)[1]


def test_a_cancelled_pending_task_ends(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs)
    slurm_queue.cancel_jobs([slurm_queue.find_last_job(jobs[1].folder)])
    [outcome] = workspace.follow(cluster, jobs[1:])
    assert outcome.state == "cancelled"
    assert query_job(jobs[0], "%T") == "PENDING"


def test_a_cancelled_array_ends(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    slurm_queue.cancel_jobs(
        slurm_queue.SubmittedJob(number, "", "") for number in cluster.submit(jobs).arrays
    )
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["cancelled"] * 2


def test_a_queued_run_is_not_submitted_again(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs[:1])
    second = cluster.submit(jobs)
    assert (second.num_runs, second.num_queued_before) == (1, 1)


def test_a_job_of_another_name_with_the_same_number_is_ignored(site, workspace):
    [job] = workspace.jobs("good")
    number = commands.run_command(
        ["sbatch", "--parsable", "--begin=now+600", "-J", "theirs", "--wrap", "true"]
    ).strip()
    try:
        slurm_queue.record_job(
            job.folder, slurm_queue.SubmittedJob(number, "test-0", "/nowhere/logs/log")
        )
        assert slurm_queue.query_states([slurm_queue.find_last_job(job.folder)]) == {}
    finally:
        commands.run_command(["scancel", number])


def test_an_invalid_partition_is_reported_with_slurms_message(site, workspace):
    jobs = workspace.jobs("good")
    with pytest.raises(SlurmError, match="invalid partition specified: moon"):
        workspace.cluster(partition="moon", canary=True).submit(jobs)
    assert list_queue() == []
    assert list_submissions(workspace) == []


def test_code_that_is_edited_after_submission_changes_no_queued_trial(site, workspace):
    jobs = workspace.jobs("good")
    cluster = workspace.cluster(sbatch=LATER)
    [number] = cluster.submit(jobs).arrays
    Path("scripted_masker.py").write_text("a typo\n")
    commands.run_command(["scontrol", "update", f"JobId={number}", "StartTime=now"])
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done"]


def test_the_array_starts_after_its_canary_has_succeeded(site, workspace):
    jobs = workspace.jobs("slow", "slow")
    cluster = workspace.cluster(canary=True)
    submission = cluster.submit(jobs)
    assert len(submission.canaries) == 1
    slurm = workspace.folder / "reports" / "slurm"
    [again] = wait_until(lambda: list(slurm.glob("*/canary-*/*/attempts/002")), ALL_SECONDS)
    assert "preempted" in (again.parent / "001" / "log.txt").read_text()  # it was signalled to stop
    workspace.hurry()
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]
    content = read_json(again.parents[1] / "run.json")
    assert (content["state"], content["cost"]["steps"], content["attempt"]) == ("done", 12, 2)


def test_only_the_runs_of_a_level_get_its_resources(site, workspace):
    jobs = workspace.jobs("good", "good")
    jobs[1] = replace(jobs[1], levels={"encoder": "large"})
    more = {"encoder": {"large": {"cpus": 2, "memory": "2G"}}}
    cluster = workspace.cluster(levels=more)
    assert len(cluster.submit(jobs).arrays) == 2
    assert [query_granted(job) for job in jobs] == ["cpu=1,mem=1500M", "cpu=2,mem=2G"]
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]


def test_nothing_is_submitted_if_slurm_rejects_one_group(site, workspace):
    jobs = workspace.jobs("good", "good")
    jobs[1] = replace(jobs[1], levels={"encoder": "large"})
    with pytest.raises(SlurmError, match="invalid partition specified: moon"):
        workspace.cluster(levels={"encoder": {"large": {"partition": "moon"}}}).submit(jobs)
    assert list_queue() == []
    assert list_submissions(workspace) == []


def test_the_array_does_not_start_if_its_canary_fails(site, workspace):
    jobs = workspace.jobs("raises", "raises")
    cluster = workspace.cluster(canary=True)
    cluster.submit(jobs)
    outcomes = workspace.follow(cluster, jobs)
    assert [outcome.state for outcome in outcomes] == ["cancelled"] * 2
    assert "canary failed, so nothing was run: error: RuntimeError" in outcomes[0].reason
    assert not (jobs[0].folder / "attempts").exists()
    assert slurm_queue.query_states(slurm_queue.find_last_job(job.folder) for job in jobs) == {}
    trace = reconcile.read_canary_log(slurm_queue.find_last_job(jobs[0].folder))
    assert any("scripted_masker.py" in line for line in trace)
