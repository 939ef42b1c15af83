"""A real SLURM whose nodes lose power, whose controller dies, and that takes its machines back."""

import time

from ablate.files import find_json
from ablate.launching import commands, queueing


def record(job):
    return find_json(job.folder / "run.json") or {}


def weights(job):
    return (job.folder / "encoder.safetensors").read_bytes()


def queued(job, field):
    """What the queue says of a job: %A its plain number, %N its node."""
    number = queueing.last(job.folder).job
    return commands.call(["squeue", "-h", "-r", "-j", number, "-o", field]).strip()


def all_idle():
    return set(commands.call(["sinfo", "-h", "-N", "-o", "%t"]).split()) == {"idle"}


def is_training(job):
    return record(job).get("state") == "running" and (job.folder / "heartbeat").exists()


def test_a_node_that_loses_power_loses_no_trial(site, desk, wait):
    jobs = desk.jobs("slow")
    cluster = desk.cluster()
    cluster.submit(jobs)
    wait(lambda: is_training(jobs[0]))
    node = queued(jobs[0], "%N")
    site.control("off", node)
    try:
        [outcome] = desk.follow(cluster, jobs)
    finally:
        site.control("on", node)
        wait(all_idle)
    assert outcome.state == "done"
    assert weights(jobs[0]) == desk.uninterrupted(jobs[0])


def test_a_preempted_trial_goes_on_when_there_is_room_again(site, desk, wait):
    jobs = desk.jobs("slow")
    cluster = desk.cluster(partition="preempt")  # its minutes are under ten, too
    cluster.submit(jobs)
    wait(lambda: is_training(jobs[0]))
    owners = ["sbatch", "--parsable", "-p", "cpu", "-N2", "--exclusive", "-o", "/dev/null"]
    commands.call([*owners, "--wrap", "sleep 3"])
    wait(lambda: record(jobs[0])["state"] == "preempted")
    assert record(jobs[0])["reason"].startswith(("SIGUSR2 at step", "SIGTERM at step"))
    [outcome] = desk.follow(cluster, jobs)
    assert outcome.state == "done"
    assert weights(jobs[0]) == desk.uninterrupted(jobs[0])


def test_a_dead_controller_is_waited_for(site, desk, wait, monkeypatch):
    monkeypatch.setenv("GUEST_SECONDS", "0.5")  # 19 s; the controller saves every ten at most
    jobs = desk.jobs("slow", "good")
    cluster = desk.cluster(parallel=1)
    submitted = time.time()
    cluster.submit(jobs)
    wait(lambda: is_training(jobs[0]))
    saved = site.folder / "state" / "job_state"  # what is not in it yet would be forgotten
    wait(lambda: saved.exists() and saved.stat().st_mtime > submitted + 1)
    site.control("controller", "kill")
    unanswered = cluster.follow(jobs, Quiet(), seconds=0)
    site.control("controller", "start")
    assert {outcome.state for outcome in unanswered} <= {"done"}  # the queue's silence says nothing
    assert [outcome.state for outcome in desk.follow(cluster, jobs)] == ["done", "done"]
    wait(all_idle)


def test_a_trial_longer_than_its_job_goes_on_in_the_next_run_of_it(site, desk, monkeypatch):
    monkeypatch.setenv("GUEST_SECONDS", "1.3")  # 51 s; a minute warns by its 46th
    jobs = desk.jobs("slow")
    cluster = desk.cluster(minutes=1)
    cluster.submit(jobs)
    [outcome] = desk.follow(cluster, jobs)
    assert outcome.state == "done"
    assert record(jobs[0])["attempt"] > 1
    assert weights(jobs[0]) == desk.uninterrupted(jobs[0])


class Quiet:
    """Listens to nothing."""

    def progress(self, worker, job, event):
        pass

    def finished(self, worker, outcome):
        pass
