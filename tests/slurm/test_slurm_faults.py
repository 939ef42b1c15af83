"""Tests on a real SLURM whose nodes and controller fail, and that preempts jobs."""

from contextlib import suppress

from ablate.slurm import commands
from tests.slurm.conftest import (
    ALL_SECONDS,
    SilentListener,
    is_training,
    query_job,
    record,
    wait_until,
    weights,
)


def read_saved_state(site):
    """Returns the job state that the controller has saved for its next start."""
    with suppress(FileNotFoundError):  # while it is being replaced
        return (site.folder / "state" / "job_state").read_bytes()
    return b""


def are_nodes_idle():
    return set(commands.run_command(["sinfo", "-h", "-N", "-o", "%t"]).split()) == {"idle"}


def occupy_all_nodes():
    """Submits a job with a higher priority that needs all nodes until the file `hurry` exists."""
    nodes = ["sbatch", "-p", "cpu", "-N2", "--exclusive", "--time=20", "-o", "/dev/null"]
    commands.run_command([*nodes, "--wrap", "until [ -e hurry ]; do sleep 0.2; done"])


def test_a_node_that_loses_power_loses_no_trial(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster()
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    node = query_job(jobs[0], "%N")
    site.control("off", node)
    try:
        wait_until(lambda: record(jobs[0])["attempt"] == 2)
        workspace.hurry()
        [outcome] = workspace.follow(cluster, jobs)
    finally:
        site.control("on", node)
        wait_until(are_nodes_idle)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.train_locally(jobs[0])


def test_a_preempted_trial_resumes_once_nodes_are_free(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster(partition="preempt")
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    occupy_all_nodes()
    preempted = wait_until(lambda: (now := record(jobs[0]))["state"] == "preempted" and now)
    assert preempted["reason"].startswith(("SIGUSR2 at step", "SIGTERM at step"))
    workspace.hurry()
    [outcome] = workspace.follow(cluster, jobs)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.train_locally(jobs[0])


def test_runs_survive_a_dead_slurm_controller(site, workspace):
    jobs = workspace.jobs("slow", "good")
    cluster = workspace.cluster(parallel=1)
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    commands.run_command(
        ["scontrol", "update", f"JobId={query_job(jobs[0], '%A')}", "Comment=it-trains"]
    )
    wait_until(lambda: b"it-trains" in read_saved_state(site))  # unsaved jobs would be lost
    site.control("controller", "kill")
    try:
        assert cluster.follow(jobs, SilentListener(), seconds=0) == []  # no answer is not an end
    finally:
        site.control("controller", "start")
    workspace.hurry()
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]
    wait_until(are_nodes_idle)


def test_a_trial_longer_than_its_job_resumes_after_the_requeue(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster(minutes=1)
    cluster.submit(jobs)
    wait_until(lambda: record(jobs[0]).get("attempt", 0) > 1, ALL_SECONDS)
    workspace.hurry()
    [outcome] = workspace.follow(cluster, jobs)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.train_locally(jobs[0])
