"""Tests that every submitted job is known, with scripted SLURM commands."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ablate.cli.main import app
from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.slurm import history, reconcile, submissions
from ablate.slurm import queue as slurm_queue
from ablate.slurm.executor import Cluster
from ablate.slurm.options import SlurmOptions
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob
from ablate.slurm.resources import Resources
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.plans import make_entry, make_plan
from tests.run_folders import write_record
from tests.slurm.fake_slurm import write_commands
from tests.study.conftest import STUDY

ROOT = Path(__file__).parents[2]
SBATCH = """\
[ "$1" = --test-only ] && exit 0
echo >> QUEUE.count
number=$(( $(cat QUEUE.count | wc -l) + 99 ))
name=$(sed -n 's/^#SBATCH --job-name=//p' "$2")
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$2")
for task in $(seq 0 ${last:-0}); do
  echo "${number}_$task|$name|PENDING|Priority" >> QUEUE
done
AFTER
echo $number
"""
SQUEUE = """\
case "$*" in
  *"-o %i|%j") cut -d'|' -f1,2 QUEUE ;;
  *) cat QUEUE ;;
esac
"""
SCANCEL = """\
echo "$@" >> CANCELLED
for job in "$@"; do sed -i "/^${job%%_*}_/d" QUEUE; done
"""
SUBMIT = """\
from pathlib import Path
from tests.slurm.test_submissions import create_cluster, create_jobs
create_cluster(Path.cwd()).submit(create_jobs(Path.cwd(), "one"))
"""


def create_cluster(folder: Path, *, canary: bool = False) -> Cluster:
    profile = Profile(name="site", max_array=10, canary=canary)
    home = submissions.get_folder(folder / "reports", "study")
    return Cluster(Resources(profile, {}, {}), home, folder / "cache", study="study")


def create_jobs(folder: Path, *names: str) -> list[RunJob]:
    jobs = [RunJob(folder / "runs" / name, name, {}) for name in names]
    for job in jobs:
        store.write_config(job.folder, kind="jepa", settings={"seed": 0, "budget": {"steps": 9}})
    return jobs


def write_plan(folder: Path, *names: str) -> None:
    entries = (make_entry(n, random_init=f"{n}-init", statistics="mel") for n in names)
    plan = make_plan(*entries, study="study")
    plan.write(plan.file_in(folder / "reports"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Returns a function that writes SLURM commands and returns the file of their queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    queue = tmp_path / "queue"
    queue.touch()

    def write(after: str = "", **others: str) -> Path:
        scripts = {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL, **others}
        replaced = {"QUEUE": str(queue), "AFTER": after, "CANCELLED": str(tmp_path / "cancelled")}
        for name, body in scripts.items():
            for word, text in replaced.items():
                body = body.replace(word, text)
            scripts[name] = body
        write_commands(tmp_path, scripts)
        return queue

    return write


def ablate(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_job_submitted_just_before_a_crash_is_not_submitted_again(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    queue = slurm(after="kill -9 $PPID")
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    crashed = subprocess.run([sys.executable, "-c", SUBMIT], env=environ, capture_output=True)
    assert crashed.returncode == -9, crashed.stderr
    [job] = create_jobs(tmp_path, "one")
    assert slurm_queue.find_last_job(job.folder) is None
    slurm()
    submission = create_cluster(tmp_path).submit([job])
    assert (submission.num_runs, submission.num_queued_before) == (0, 1)
    assert len(queue.read_text().splitlines()) == 1
    write_plan(tmp_path, "one")
    assert "job 100_0" in ablate("cancel", "study", "--yes")
    assert not queue.read_text()


@pytest.mark.parametrize("interrupted", ["array", "canary"])
def test_a_submission_that_fails_midway_leaves_no_job_in_the_queue(
    tmp_path: Path, slurm: Callable[..., Path], interrupted: str
) -> None:
    lines = 2 if interrupted == "array" else 1
    queue = slurm(after=f"[ $(cat QUEUE | wc -l) = {lines} ] && exit 1".replace("QUEUE", "queue"))
    with pytest.raises(slurm_queue.SlurmError):
        create_cluster(tmp_path, canary=True).submit(create_jobs(tmp_path, "one"))
    assert not queue.read_text()


def test_cancel_also_cancels_the_canary_and_jobs_of_an_earlier_plan(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    queue = slurm()
    create_cluster(tmp_path, canary=True).submit(create_jobs(tmp_path, "one"))
    create_cluster(tmp_path).submit(create_jobs(tmp_path, "two"))
    write_plan(tmp_path, "two")
    assert "cancelled 2 runs and 1 canaries" in ablate("cancel", "study", "--yes")
    assert not queue.read_text()


def test_status_counts_queued_runs_and_names_those_outside_its_table(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    slurm()
    for name in ("one", "one-init", "mel", "removed"):
        create_cluster(tmp_path).submit(create_jobs(tmp_path, name))
    write_record(tmp_path / "runs" / "one", "cancelled", "the job was cancelled")
    write_plan(tmp_path, "one")
    header, _, row, *others = ablate("status", "study").splitlines()
    assert header == "study: 1 queued"
    assert row.split()[0] == "one"
    assert row.endswith("job 100_0 PENDING Priority")
    assert [line.partition(": ")[0].split(maxsplit=1) for line in others] == [
        ["one-init", "random init of baseline, seed 0"],
        ["mel", "log-mel statistics"],
        ["removed", "no longer in the study (--prune-removed cancels it)"],
    ]


def test_jobs_of_a_level_removed_from_the_study_are_cancelled_on_request(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    queue = slurm()
    Path("site.yaml").write_text("canary: false\nmax_array: 99\n")

    def submit(*levels: str, prune: bool = False) -> None:
        masker = "".join(f"    {level}: {{type: {level}}}\n" for level in levels)
        Path("study.yaml").write_text(re.sub(r"    good(.|\n)*(?=seeds)", masker, STUDY))
        options = SlurmOptions("site.yaml", prune_removed=prune)
        assert study.run_study(Path("study.yaml"), slurm=options, command=STAND_IN) == study.DONE

    submit("Good", "Other")
    submitted = queue.read_text()
    submit("Good", "Fine")
    assert queue.read_text().startswith(submitted)
    assert "no longer in the study" in ablate("status", "masking")
    submit("Good", "Fine", prune=True)
    assert "no longer in the study" not in ablate("status", "masking")


def test_retry_names_the_command_that_submits_cancelled_runs_again(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    slurm()
    write_record(tmp_path / "runs" / "one", "cancelled", "the canary failed")
    write_plan(tmp_path, "one")
    assert "no run has failed; 1 have not ended, to run them: ablate run" in ablate(
        "retry", "study"
    )


def test_clean_keeps_queued_runs_of_an_earlier_plan(
    tmp_path: Path, slurm: Callable[..., Path]
) -> None:
    queue = slurm()
    create_cluster(tmp_path).submit(create_jobs(tmp_path, "one"))
    write_plan(tmp_path, "two")
    assert "no unused runs" in ablate("clean", "--yes")
    queue.write_text("")
    assert "deleted 1 run folders" in ablate("clean", "--yes")


SACCT_ARRAY = "echo '100_[0-3%4]|study-1|PENDING|0:0'"
SCONTROL_ARRAY = (
    "echo 'JobId=100 ArrayJobId=100 ArrayTaskId=0-3%4 JobName=study-1 JobState=PENDING'"
)


@pytest.mark.parametrize(
    "scripts",
    [
        {"sacct": SACCT_ARRAY},
        {"sacct": "echo '100_2|study-1|RUNNING|0:0'"},
        {"scontrol": SCONTROL_ARRAY},
        {"sacct": SACCT_ARRAY, "scontrol": "echo slurmctld is down >&2; exit 1"},
    ],
)
def test_an_empty_squeue_ends_no_job_that_the_cluster_lists_elsewhere(
    tmp_path: Path, slurm: Callable[..., Path], scripts: dict[str, str]
) -> None:
    slurm(**scripts)
    [run] = create_jobs(tmp_path, "one")
    slurm_queue.record_job(run.folder, SubmittedJob("100_2", "study-1", str(tmp_path / "a/b/log")))
    assert list(reconcile.reconcile_runs([run.folder])) == [run.folder]
    assert list(reconcile.find_queued([run.folder])) == [run.folder]
    assert store.read_status(run.folder).state == "planned"


@pytest.mark.parametrize(
    "scripts",
    [
        {},
        {"scontrol": "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1"},
        {"sacct": SACCT_ARRAY, "scontrol": "echo Invalid job id specified >&2; exit 1"},
        {"sacct": "echo '100_2|study-1|CANCELLED by 0|0:0'", "scontrol": SCONTROL_ARRAY},
    ],
)
def test_a_job_that_the_cluster_no_longer_knows_has_left_the_queue(
    tmp_path: Path, slurm: Callable[..., Path], scripts: dict[str, str]
) -> None:
    slurm(**scripts)
    job = SubmittedJob("100_2", "study-1", str(tmp_path / "log"))
    assert list(history.find_gone([job])) == ["100_2"]


@given(st.sets(st.integers(0, 40), min_size=1), st.sampled_from(["", "%3"]))
def test_the_tasks_of_an_array_are_expanded_from_ranges(tasks: set[int], limit: str) -> None:
    parts: list[list[int]] = []
    for task in sorted(tasks):
        if parts and parts[-1][-1] == task - 1:
            parts[-1].append(task)
        else:
            parts.append([task])
    text = ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
    ids = history.expand_job_ids("7", f"[{text}{limit}]")
    assert ids == [f"7_{task}" for task in sorted(tasks)]
