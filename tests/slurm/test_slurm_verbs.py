"""The verbs on a real SLURM: what is in the queue, cancel, try again, and the doctor."""

from typer.testing import CliRunner

from ablate.cli.main import app
from ablate.runs import store
from ablate.slurm import doctor, monitor
from ablate.slurm import queue as slurm_queue
from ablate.slurm.profile import Profile
from tests.plans import make_entry, make_plan
from tests.run_folders import write_record
from tests.slurm.conftest import wait_until

PROFILE = Profile(name="test", partition="cpu", memory="1500M", poll_seconds=0.2)
LATER = {"begin": "now+600"}


def plan_of(jobs):
    names = [job.folder.name for job in jobs]
    return make_plan(
        *(make_entry(name, random_init=name, statistics=name) for name in names), study="test"
    )


def test_status_says_why_a_run_waits(site, workspace):
    jobs = workspace.jobs("good", "good")
    workspace.cluster(sbatch=LATER).submit(jobs)
    plan, runs = plan_of(jobs), workspace.folder / "runs"
    wait_until(lambda: str(monitor.queue(plan, runs)).count("PENDING BeginTime") == 2)


def test_status_settles_what_was_cancelled_behind_its_back(site, workspace):
    jobs = workspace.jobs("good")
    workspace.cluster(sbatch=LATER).submit(jobs)
    plan, runs = plan_of(jobs), workspace.folder / "runs"
    slurm_queue.cancel(monitor.queued(plan, runs).values())
    assert monitor.queue(plan, runs) == []
    assert store.read_status(jobs[0].folder).state == "cancelled"


def test_the_console_shows_cancels_and_retries_what_is_in_the_queue(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs)
    plan = plan_of(jobs)
    plan.write(plan.file_in(workspace.folder / "reports"))

    def ablate(*words):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        return done.output

    assert "cancelled 2 runs" in ablate("cancel", "test", "--yes")
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["cancelled"] * 2
    assert "this study has no queued jobs" in ablate("cancel", "test", "--yes")
    again = workspace.cluster()
    again.submit(jobs)
    assert [outcome.state for outcome in workspace.follow(again, jobs)] == ["done"] * 2


def test_failures_of_one_kind_are_tried_again(tmp_path):
    for name, reason in (("aa", "timeout: too long"), ("bb", "node: gone"), ("cc", "nan: loss")):
        write_record(tmp_path / name, "failed", reason)
    plan = make_plan(make_entry("aa", random_init="bb", statistics="cc"))
    assert len(monitor.release(plan, tmp_path, ["timeout", "node"])) == 2
    states = [store.read_status(tmp_path / name).state for name in ("aa", "bb", "cc")]
    assert states == ["cancelled", "cancelled", "failed"]


def test_the_doctor_runs_a_job_and_finds_nothing_wrong(site, tmp_path):
    said = []
    assert doctor.examine(PROFILE, tmp_path, said.append)
    assert said[-1].startswith("a job runs on n")


def test_the_doctor_finds_a_partition_that_is_not_there(site, tmp_path):
    said = []
    moon = Profile(name="test", partition="moon")
    assert not doctor.examine(moon, tmp_path, said.append)
    assert "invalid partition specified: moon" in said[-1]


def test_the_doctor_finds_a_python_that_is_not_there(site, tmp_path):
    said = []
    broken = Profile(name="test", memory="500M", python="/nowhere/python")
    assert not doctor.examine(broken, tmp_path, said.append)
    assert "/nowhere/python" in said[-1]
