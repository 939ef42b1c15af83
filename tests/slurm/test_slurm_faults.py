"""A real SLURM whose nodes lose power, whose controller dies, and that takes its machines back."""

from contextlib import suppress

from ablate.slurm import commands
from tests.slurm.conftest import (
    ALL_SECONDS,
    Quiet,
    is_training,
    queued,
    record,
    wait_until,
    weights,
)


def saved(site):
    """What the controller would know of jobs if it were started again."""
    with suppress(FileNotFoundError):  # it is being replaced
        return (site.folder / "state" / "job_state").read_bytes()
    return b""


def all_idle():
    return set(commands.call(["sinfo", "-h", "-N", "-o", "%t"]).split()) == {"idle"}


def take_all_nodes():
    """Has their owner want them, until the file `hurry` is there."""
    nodes = ["sbatch", "-p", "cpu", "-N2", "--exclusive", "--time=20", "-o", "/dev/null"]
    commands.call([*nodes, "--wrap", "until [ -e hurry ]; do sleep 0.2; done"])


def test_a_node_that_loses_power_loses_no_trial(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster()
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    node = queued(jobs[0], "%N")
    site.control("off", node)
    try:
        wait_until(lambda: record(jobs[0])["attempt"] == 2)
        workspace.hurry()
        [outcome] = workspace.follow(cluster, jobs)
    finally:
        site.control("on", node)
        wait_until(all_idle)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.uninterrupted(jobs[0])


def test_a_preempted_trial_goes_on_when_there_is_room_again(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster(partition="preempt")  # its minutes are under ten, too
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    take_all_nodes()
    found = wait_until(lambda: (now := record(jobs[0]))["state"] == "preempted" and now)
    assert found["reason"].startswith(("SIGUSR2 at step", "SIGTERM at step"))
    workspace.hurry()
    [outcome] = workspace.follow(cluster, jobs)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.uninterrupted(jobs[0])


def test_a_dead_controller_is_waited_for(site, workspace):
    jobs = workspace.jobs("slow", "good")
    cluster = workspace.cluster(parallel=1)
    cluster.submit(jobs)
    wait_until(lambda: is_training(jobs[0]))
    commands.call(["scontrol", "update", f"JobId={queued(jobs[0], '%A')}", "Comment=it-trains"])
    wait_until(lambda: b"it-trains" in saved(site))  # what is not would be forgotten
    site.control("controller", "kill")
    try:
        assert cluster.follow(jobs, Quiet(), seconds=0) == []  # the queue's silence says nothing
    finally:
        site.control("controller", "start")
    workspace.hurry()
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["done", "done"]
    wait_until(all_idle)


def test_a_trial_longer_than_its_job_goes_on_in_the_next_run_of_it(site, workspace):
    jobs = workspace.jobs("slow")
    cluster = workspace.cluster(minutes=1)
    cluster.submit(jobs)
    wait_until(lambda: record(jobs[0]).get("attempt", 0) > 1, ALL_SECONDS)
    workspace.hurry()
    [outcome] = workspace.follow(cluster, jobs)
    assert outcome.state == "done"
    assert weights(jobs[0]) == workspace.uninterrupted(jobs[0])
