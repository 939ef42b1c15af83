"""A real SLURM without accounting, whose arrays are short."""

from ablate.files import find_json
from ablate.launching import queueing


def record(job):
    return find_json(job.folder / "run.json") or {}


def test_more_runs_than_an_array_holds_are_cut_in_several(plain_site, desk):
    jobs = desk.jobs(*["good"] * 25, steps=2)
    cluster = desk.cluster()
    assert len(cluster.submit(jobs).numbers) == 3
    assert {outcome.state for outcome in desk.follow(cluster, jobs)} == {"done"}


def test_without_sacct_a_cancelled_job_still_ends(plain_site, desk, wait):
    jobs = desk.jobs("slow", "good")
    cluster = desk.cluster(parallel=1)
    cluster.submit(jobs)
    wait(lambda: record(jobs[0]).get("state") == "running")
    queueing.cancel([queueing.last(job.folder) for job in jobs])
    assert [outcome.state for outcome in desk.follow(cluster, jobs)] == ["cancelled"] * 2
