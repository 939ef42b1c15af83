"""Checks a cluster and a profile by running one small job."""

import dataclasses
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.core.records.jobs import NodeReport
from ablate.slurm import code_snapshot, commands, history, sbatch
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob

MINUTES = 5  # time limit of the job
PATIENCE_SECONDS = 300.0  # longest wait for the job's report
POLL_SECONDS = 0.5
MAX_ABSENT = 2  # polls that may miss the job in the queue before its report arrives
REQUIRED = (["sbatch", "--version"], ["squeue", "--version"], ["scontrol", "show", "config"])


def check_cluster(
    profile: Profile,
    folder: Path,
    report: Callable[[str], None],
    *,
    patience: float = PATIENCE_SECONDS,
) -> bool:
    """Checks whether a study can run on a cluster.

    Args:
        profile: the profile of the study's jobs.
        folder: folder for the files of the check.
        report: receives a line of text for each result.
        patience: seconds after which a job that has not run is cancelled.

    Returns:
        Whether all checks passed.
    """
    try:
        for command in REQUIRED:
            commands.run_command(command)
        report(f"SLURM answers: {commands.run_command(REQUIRED[0]).strip()}")
        try:
            commands.run_command(["sacct", "-n", "-X"])
            report("sacct answers")
        except SlurmError as error:
            report(f"sacct does not answer; it is optional ({error})")
        return _try_job(profile, folder.absolute() / secrets.token_hex(4), report, patience)
    except SlurmError as error:
        report(f"error: {error}")
        return False


def _try_job(profile: Profile, home: Path, report: Callable[[str], None], patience: float) -> bool:
    file, name = home / "report.json", f"ablate-doctor-{home.name}"
    (home / "logs").mkdir(parents=True)
    code = code_snapshot.copy_code([], home / "code")
    small = dataclasses.replace(profile, minutes=MINUTES)
    script = file.with_suffix(".sbatch")
    text = sbatch.format_script(small, file, name=name, code=code, options=["--doctor"])
    write_atomically(script, text, private=True)
    commands.check_submission(script)
    report(f"SLURM accepts the resources of {profile.name}.yaml")
    number = commands.submit(script)
    job = SubmittedJob(number, name, str(home / "logs" / f"{number}_0_log.out"))
    try:
        result = _wait(job, file, patience)
    finally:
        slurm_queue.cancel_jobs([job])
    problem = result if isinstance(result, str) else _find_problem(result, profile)
    if problem is not None:
        report(f"error: {problem}")
        return False
    assert isinstance(result, NodeReport)
    report(f"a job runs on {result.host}: torch {result.torch}, {result.gpus} GPUs")
    for line in result.attention:
        report(line)
    return True


def _find_problem(report: NodeReport, profile: Profile) -> str | None:
    if report.problem:
        return f"`python -m ablate.worker` does not start in a job: {report.problem}"
    if profile.gpus > (report.gpus or 0):
        requested = f"{profile.gpus} GPUs were requested"
        return f"{requested}, but torch {report.torch} on {report.host} sees {report.gpus}"
    return None


def _wait(job: SubmittedJob, file: Path, patience: float) -> NodeReport | str:
    """Returns the report of a job, or why there is none."""
    deadline, last_state, absent = time.monotonic() + patience, "", 0
    while time.monotonic() < deadline:
        state = slurm_queue.query_states([job]).get(job.job_id)
        report = NodeReport.find(file)
        if report is not None:
            return report
        if state is not None:
            last_state = f"{state.state}, {state.reason}"
        elif (absent := absent + 1) > MAX_ABSENT:
            end = history.query_history([job]).get(job.job_id)
            return history.explain_end(job, end)[1].removeprefix("node: ")
        time.sleep(POLL_SECONDS)
    return f"the job has not started within {patience:.0f} s: {last_state}; it was cancelled"
