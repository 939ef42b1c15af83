"""Tests of status, cancel, retry and doctor on a real SLURM."""

from typer.testing import CliRunner

from ablate.cli.main import app
from ablate.runs import store
from ablate.slurm import doctor, monitor
from ablate.slurm import queue as slurm_queue
from ablate.slurm.profile import Profile
from ablate.slurm.queue import QueueState
from tests.plans import make_entry, make_plan
from tests.run_folders import write_record
from tests.slurm.conftest import wait_until

PROFILE = Profile(name="test", partition="cpu", memory="1500M", poll_seconds=0.2)
LATER = {"begin": "now+600"}


def plan_jobs(jobs):
    names = [job.folder.name for job in jobs]
    return make_plan(
        *(make_entry(name, random_init=name, statistics=name) for name in names), study="test"
    )


def test_status_names_why_a_run_waits(site, workspace):
    jobs = workspace.jobs("good", "good")
    workspace.cluster(sbatch=LATER).submit(jobs)
    plan, folders = plan_jobs(jobs), store.get_folders()

    def list_states():
        return [str(run.state) for run in monitor.reconcile_study(plan, folders).runs.values()]

    waiting = str(QueueState("PENDING", "BeginTime"))
    wait_until(lambda: list_states() == [waiting, waiting])


def test_status_records_runs_that_were_cancelled_with_scancel(site, workspace):
    jobs = workspace.jobs("good")
    workspace.cluster(sbatch=LATER).submit(jobs)
    plan, folders = plan_jobs(jobs), store.get_folders()
    slurm_queue.cancel_jobs(monitor.find_queued_jobs(plan, folders).values())
    assert monitor.reconcile_study(plan, folders) == ({}, [])
    assert store.read_status(jobs[0].folder).state == "cancelled"


def test_queued_runs_are_listed_cancelled_and_submitted_again(site, workspace):
    jobs = workspace.jobs("good", "good")
    cluster = workspace.cluster(sbatch=LATER)
    cluster.submit(jobs)
    plan = plan_jobs(jobs)
    plan.write(plan.file_in(workspace.folder / "reports"))

    def ablate(*arguments):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    assert "cancelled 2 runs" in ablate("cancel", "test", "--yes")
    assert [outcome.state for outcome in workspace.follow(cluster, jobs)] == ["cancelled"] * 2
    assert "this study has no queued jobs" in ablate("cancel", "test", "--yes")
    again = workspace.cluster()
    again.submit(jobs)
    assert [outcome.state for outcome in workspace.follow(again, jobs)] == ["done"] * 2


def test_failures_of_one_kind_are_reset(tmp_path):
    for name, reason in (("aa", "timeout: too long"), ("bb", "node: gone"), ("cc", "nan: loss")):
        write_record(tmp_path / name, "failed", reason)
    plan = make_plan(make_entry("aa", random_init="bb", statistics="cc"))
    assert len(monitor.reset_failed_runs(plan, tmp_path, ["timeout", "node"])) == 2
    states = [store.read_status(tmp_path / name).state for name in ("aa", "bb", "cc")]
    assert states == ["cancelled", "cancelled", "failed"]


def test_doctor_runs_a_job_on_a_working_cluster(site, tmp_path):
    lines = []
    assert doctor.check_cluster(PROFILE, tmp_path, lines.append)
    assert lines[-2].startswith("a job runs on n")
    assert lines[-1].startswith("attention on ")


def test_doctor_reports_a_missing_partition(site, tmp_path):
    lines = []
    moon = Profile(name="test", partition="moon")
    assert not doctor.check_cluster(moon, tmp_path, lines.append)
    assert "invalid partition specified: moon" in lines[-1]


def test_doctor_reports_a_missing_python(site, tmp_path):
    lines = []
    broken = Profile(name="test", memory="500M", python="/nowhere/python")
    assert not doctor.check_cluster(broken, tmp_path, lines.append)
    assert "/nowhere/python" in lines[-1]
