"""Runs jobs on a SLURM cluster: submits them as arrays and waits until their runs have ended.

The state of a run is read from its folder. squeue is only queried for the jobs that are in the
queue, and sacct only for the reason why one has left it.
"""

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablate.core.io import write_json
from ablate.core.records.messages import ProgressMessage
from ablate.runs import store
from ablate.runs.job import ProgressListener, RunJob, RunOutcome
from ablate.runs.lock import is_locked
from ablate.slurm import code_snapshot, commands, history, reconcile, submissions
from ablate.slurm import queue as slurm_queue
from ablate.slurm.arrays import Group, group_jobs
from ablate.slurm.commands import PartialSubmissionError, QueueLimitError, SlurmError
from ablate.slurm.profile import Profile
from ablate.slurm.queue import QueueState, SubmittedJob
from ablate.slurm.resources import Resources

MIN_ABSENT = 2  # polls in a row that must miss a job in the queue before it counts as gone


@dataclass
class Submission:
    """The result of submitting runs."""

    num_runs: int = 0  # submitted now
    arrays: list[str] = field(default_factory=list)  # numbers of their jobs
    canaries: list[str] = field(default_factory=list)  # numbers of the canary jobs
    num_queued_before: int = 0  # runs that were in the queue already
    waiting: list[RunJob] = field(default_factory=list)  # runs that exceed a limit of the cluster
    limit: str = ""  # SLURM's message about that limit

    def describe(self) -> list[str]:
        """Returns lines of text for the user."""
        lines = []
        if self.arrays:
            arrays = ", ".join(self.arrays)
            after = f", after canary job {', '.join(self.canaries)}" if self.canaries else ""
            lines.append(f"submitted {self.num_runs} runs as job {arrays}{after}")
        if self.num_queued_before:
            lines.append(f"{self.num_queued_before} runs are already in the queue")
        if self.waiting:
            lines.append(f"{len(self.waiting)} runs are not submitted yet: {self.limit}")
        return lines


class Cluster:
    """An executor that runs the jobs of one study on a cluster.

    Args:
        resources: the resources that the study's runs need.
        folder: folder of the study's submissions.
        cache: folder of decoded clips. The nodes of the cluster must see all these folders.
        study: name of the study.
    """

    def __init__(self, resources: Resources, folder: Path, cache: Path, *, study: str) -> None:
        self.resources = resources
        self._folder = folder.absolute()
        self._cache = cache.absolute()
        self._study = study

    @property
    def profile(self) -> Profile:
        """The profile of the study, without the changes of its levels."""
        return self.resources.profile

    def run(self, jobs: Sequence[RunJob], listener: ProgressListener) -> list[RunOutcome]:
        """Submits the jobs and waits until all have ended. Raises as `submit`."""
        return self.follow(jobs, listener, waiting=self.submit(jobs).waiting)

    def format_sbatch(self, jobs: Sequence[RunJob]) -> str:
        """Returns the sbatch scripts that `submit` would submit. Raises as `submit`."""
        scripts = []
        groups = group_jobs(jobs, self.resources, self._folder / "SUBMISSION")
        code_snapshot.find_code(_list_settings(groups, jobs[0].probes if jobs else {}))
        for group in groups:
            if group.canary is not None:
                scripts.append(group.format_sbatch(group.canary, self._study))
            after = "CANARY" if group.canary is not None else ""
            scripts += [group.format_sbatch(file, self._study, after) for file in group.arrays]
        return "\n".join(scripts)

    def submit(self, jobs: Sequence[RunJob]) -> Submission:
        """Submits the jobs that are not in the queue yet.

        If a limit of the cluster on jobs is reached, the other jobs are returned as `waiting`.

        Raises:
            SlurmError: SLURM refuses the jobs; none was submitted.
            StudyError: the settings of a run's levels contradict each other.
        """
        with slurm_queue.submission_lock(self._folder):
            submissions.recover_jobs(self._folder)
            queued = reconcile.find_queued(job.folder for job in jobs)
            submission = Submission(num_queued_before=len(queued))
            missing = [job for job in jobs if job.folder not in queued]
            if missing:
                self._submit(missing, submission)
        return submission

    def _submit(self, missing: Sequence[RunJob], submission: Submission) -> None:
        """Submits jobs and records them in `submission`; if it raises, it has cancelled all."""
        home = self._folder / secrets.token_hex(4)
        name = f"{self._study}-{home.name}"
        groups = group_jobs(missing, self.resources, home)
        try:
            self._write_files(home, groups, missing[0].probes)
            for group in groups:
                for file in filter(None, (group.canary, *group.arrays)):
                    commands.check_submission(group.write_sbatch(file, name))
            self._submit_arrays(groups, name, submission)
        except BaseException:
            submissions.cancel_submission(home, [*submission.canaries, *submission.arrays])
            shutil.rmtree(home, ignore_errors=True)
            raise

    def follow(
        self,
        jobs: Sequence[RunJob],
        listener: ProgressListener,
        *,
        waiting: Sequence[RunJob] = (),
        seconds: float | None = None,
    ) -> list[RunOutcome]:
        """Waits until every job has ended, and submits `waiting` jobs as the cluster allows.

        The queue is polled every `poll_seconds` of the profile.

        Args:
            jobs: all jobs.
            listener: is notified of their progress and ends.
            waiting: those of the jobs that could not be submitted yet.
            seconds: time after which to stop waiting.

        Returns:
            The outcomes of the jobs that have ended.

        Raises:
            SlurmError: a waiting job can never be submitted.
            PartialSubmissionError: the same, while other jobs are still queued.
        """
        started = time.monotonic()
        left, absent = dict(enumerate(jobs)), Counter[int]()
        outcomes: list[RunOutcome] = []
        unsubmitted = list(waiting)
        while left:
            excluded = {job.folder for job in unsubmitted}  # their last job is an earlier one
            submitted = {
                index: None if job.folder in excluded else slurm_queue.find_last_job(job.folder)
                for index, job in left.items()
            }
            states = _query_states(submitted.values())
            for index, job in list(left.items()):
                outcome = self._find_outcome(job, submitted[index], states, absent, index)
                if outcome is not None:
                    del left[index]
                    outcomes.append(outcome)
                    listener.on_finished(index, outcome)
                elif index not in absent:
                    progress = ProgressMessage(label=_format_state(submitted[index], states))
                    listener.on_progress(index, job, progress)
            if seconds is not None and time.monotonic() - started > seconds:
                break
            if left:
                time.sleep(self.profile.poll_seconds)
            unsubmitted = [job for job in unsubmitted if job in left.values()]
            if unsubmitted:
                num_queued = len(left) - len(unsubmitted)
                may_retry = states != {}  # an empty queue will not get emptier
                unsubmitted = self._submit_more(unsubmitted, num_queued, may_retry=may_retry)
        return outcomes

    def _submit_more(self, jobs: list[RunJob], num_queued: int, *, may_retry: bool) -> list[RunJob]:
        """Submits waiting jobs; returns those that must wait on. `num_queued` others are queued."""
        try:
            return self.submit(jobs).waiting
        except SlurmError as error:
            if may_retry and isinstance(error, QueueLimitError):
                return jobs
            if not num_queued:
                raise
            counts = f"not submitted: {len(jobs)}; still queued: {num_queued}"
            raise PartialSubmissionError(
                f"{error}; {counts}; see `ablate status {self._study}`"
            ) from error

    def _find_outcome(
        self,
        job: RunJob,
        submitted: SubmittedJob | None,
        states: dict[str, QueueState] | None,
        absent: Counter[int],
        index: int,
    ) -> RunOutcome | None:
        """Returns how a job ended; None if it has not."""
        end = reconcile.find_end(job.folder, submitted, job.probes)
        if end is not None:
            return RunOutcome(job, end.state, end.reason, trained=end.trained, seconds=end.seconds)
        if submitted is None or states is None or submitted.job_id in states:
            absent.pop(index, None)
            return None
        absent[index] += 1
        if absent[index] < MIN_ABSENT or is_locked(job.folder):
            return None
        gone = history.find_gone([submitted], second_look=False)
        if submitted.job_id not in gone:
            return None
        reconcile.record_end(job.folder, submitted, gone[submitted.job_id])
        status = store.read_status(job.folder)
        state: Any = "failed" if status.state == "done" else status.state  # done: not scored
        return RunOutcome(job, state, status.reason, seconds=status.seconds or 0.0)

    def _write_files(self, home: Path, groups: Sequence[Group], probes: Mapping[str, Any]) -> None:
        """Writes all files that the jobs will read."""
        (home / "logs").mkdir(parents=True)
        write_json(home / "probes.json", probes)
        code_snapshot.copy_code(_list_settings(groups, probes), home / "code")
        for group in groups:
            group.write(home / "probes.json", self._cache)

    def _submit_arrays(self, groups: Sequence[Group], name: str, submission: Submission) -> None:
        arrays = [(group, file) for group in groups for file in group.arrays]
        records = [record for group in groups for record in group.describe_arrays(name)]
        submissions.write_arrays(groups[0].home, records)  # before the first job exists
        canaries: dict[Path | None, str] = {None: ""}
        for index, (group, file) in enumerate(arrays):
            try:
                if group.canary is not None and group.canary not in canaries:
                    canaries[group.canary] = commands.submit(group.write_sbatch(group.canary, name))
                    submission.canaries.append(canaries[group.canary])
                number = commands.submit(group.write_sbatch(file, name, canaries[group.canary]))
            except QueueLimitError as error:
                if not submission.arrays:
                    raise
                if canaries.get(group.canary) and file == next(iter(group.arrays)):
                    slurm_queue.try_scancel([submission.canaries.pop()])  # no array depends on it
                submission.limit = str(error)
                left = [packs for other, file in arrays[index:] for packs in other.arrays[file]]
                submission.waiting = [job for pack in left for job in pack]
                submissions.write_arrays(group.home, records[:index])
                return
            submission.arrays.append(number)
            submission.num_runs += sum(map(len, group.arrays[file]))
            records[index] = replace(records[index], number=number)
            submissions.record_jobs(group.home, records[index])
            submissions.write_arrays(group.home, records)


def _list_settings(groups: Sequence[Group], probes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Lists the settings whose parts the jobs import."""
    return [*(config.settings for group in groups for config in group.configs), dict(probes)]


def _query_states(jobs: Iterable[SubmittedJob | None]) -> dict[str, QueueState] | None:
    """Returns the states of the queued jobs; None if squeue fails, so that nothing is known."""
    try:
        return slurm_queue.query_states(job for job in jobs if job is not None)
    except SlurmError:
        return None


def _format_state(job: SubmittedJob | None, states: dict[str, QueueState] | None) -> str:
    if job is not None and states is None:
        return f"job {job.job_id}: the queue does not answer"
    if job is None or states is None or job.job_id not in states:
        return "not submitted yet: the queue is full"
    state = states[job.job_id]
    reason = f" ({state.reason})" if state.reason not in ("", "None") else ""
    return f"job {job.job_id} {state.state.lower()}{reason}"
