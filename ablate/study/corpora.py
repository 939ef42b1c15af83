"""Decodes the clips of a study ahead of its trials: here, or in the jobs of a cluster."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ablate.config import loader
from ablate.config.snapshot import StudySnapshot
from ablate.config.study import Study, StudyError
from ablate.config.tree import format_problem
from ablate.core.records.decoding_requests import DecodedStore, DecodeRequest
from ablate.design.trials import PlannedTrial
from ablate.executors.local import Pool
from ablate.executors.progress import create_console, print_line, progress_bar
from ablate.executors.worker import COMMAND, InvalidRequestError
from ablate.runs import store
from ablate.slurm import command_array, submissions
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError
from ablate.slurm.options import LOCAL, SlurmOptions, create_cluster
from ablate.slurm.profile import Profile
from ablate.study.exit_codes import DONE, run_with_exit_code
from ablate.study.folder_checks import check_path_lengths
from ablate.study.prepare import check_settings

DECODE, JOIN = "decode", "join"  # kinds of arrays, and the tasks of their jobs
NUM_JOBS = 8


def prepare_corpora(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    slurm: SlurmOptions = LOCAL,
    num_jobs: int = NUM_JOBS,
    command: Sequence[str] = COMMAND,
    console: Console | None = None,
) -> int:
    """Decodes the clips of a study into the cache; those that it has are not decoded again.

    Args:
        file: the study file.
        overrides: settings that replace those of the file.
        slurm: options of the command line for a cluster; by default the clips are decoded here.
        num_jobs: jobs of the cluster that share the clips.
        command: the command that starts a worker.
        console: where progress and the stores are shown.

    Returns:
        The exit code, one of `ablate.study.exit_codes`.
    """
    console, folders = console or create_console(), store.get_folders()

    def run() -> int:
        check_path_lengths(folders)
        study = loader.load(file, overrides)
        cluster = create_cluster(study, slurm, folders)
        with Pool(folders.cache, size=1, command=command) as pool:
            trials = check_settings(study, pool, console)
            if cluster is None:
                _print_stores(decode(study, trials, pool, console), console)
                return DONE
        profile = replace(cluster.profile, gpus=0, gpu_type="", nodes=1, ranks=1, trials_at_once=1)
        if slurm.dry_run:
            print_line(console, _format_jobs(study, profile, folders, num_jobs))
        else:
            with slurm_queue.submission_lock(submissions.get_folder(folders.reports, study.name)):
                print_line(console, _submit(study, profile, folders, num_jobs))
        return DONE

    return run_with_exit_code(run, resume_command=["ablate", "prepare", str(file), *overrides])


def decode(
    study: Study,
    trials: Sequence[PlannedTrial],
    pool: Pool,
    console: Console,
    *,
    part: tuple[int, int] | None = None,
) -> tuple[DecodedStore, ...]:
    """Has a worker decode the clips of a study, on all cores.

    Args:
        study: the study.
        trials: its trials.
        pool: the worker.
        console: where progress is shown.
        part: number, from 0, and count of parts, of which to decode one; None for all clips.

    Raises:
        StudyError: clips cannot be used; all others are decoded.
    """
    request = DecodeRequest(
        trials=tuple(trial.settings for trial in trials),
        optional=tuple(tuple(trial.inner) for trial in trials),
        probes=dict(study.probes),
        part=part,
    )
    which = "" if part is None else f", part {part[0] + 1} of {part[1]}"
    with progress_bar(console, f"decoding {study.name}{which}") as on_progress:
        try:
            return pool.request(request, on_progress).stores
        except InvalidRequestError as error:
            problems = [format_problem(study.tree, problem) for problem in error.problems]
            raise StudyError(problems) from error


def check_decoding_jobs(study: str, folders: store.Folders) -> None:
    """Raises `SlurmError` if jobs that decode the clips of a study are in the queue."""
    for kind in (DECODE, JOIN):
        jobs = command_array.find_queued(command_array.get_folder(folders.reports, study, kind))
        if jobs:
            problem = f"job {jobs[0].number} is still decoding the clips of {study}"
            raise SlurmError(f"{problem}; run the study once it has ended (`ablate status`)")


def _format_jobs(study: Study, profile: Profile, folders: store.Folders, num_jobs: int) -> str:
    scripts: list[str] = []
    for kind, count in _list_arrays(num_jobs):
        folder = command_array.get_folder(folders.reports, study.name, kind)
        after = "DECODING" if scripts else ""
        name = f"{study.name}-{kind}"
        scripts.append(command_array.format_sbatch(profile, folder, name, count, after=after))
    return "\n".join(scripts)


def _submit(study: Study, profile: Profile, folders: store.Folders, num_jobs: int) -> str:
    """Submits an array that decodes parts, and a job that joins them; returns what was done.

    The caller holds the submission lock. Raises `SlurmError`; nothing is queued then.
    """
    check_decoding_jobs(study.name, folders)
    snapshot, after, submitted = StudySnapshot.create(study), "", []
    try:
        for kind, count in _list_arrays(num_jobs):
            folder = command_array.get_folder(folders.reports, study.name, kind)
            # the profile's environment may name another cache, which trials do not use
            arguments = [kind, "--cache", str(folders.cache.absolute())]
            arguments += ["--parts", str(num_jobs)] if kind == DECODE else []
            name = f"{study.name}-{kind}"
            jobs = command_array.submit_array(
                profile, folder, name, snapshot, arguments, count, after=after, may_join=False
            )
            after = jobs[0].number
            submitted += jobs
    except BaseException:
        slurm_queue.try_scancel({job.number for job in submitted})
        raise
    see = f"to see them: ablate status {study.name}"
    if num_jobs == 1:
        return f"submitted job {after}, which decodes the clips; {see}"
    first = submitted[0].number
    return f"submitted {num_jobs} jobs as {first}, and {after}, which joins their clips; {see}"


def _list_arrays(num_jobs: int) -> list[tuple[str, int]]:
    """Lists the arrays in the order of their submission, with the number of their jobs."""
    return [(DECODE, num_jobs), (JOIN, 1)] if num_jobs > 1 else [(JOIN, 1)]


def _print_stores(stores: Sequence[DecodedStore], console: Console) -> None:
    for one in stores:
        bad = f"; {one.bad} were left out" if one.bad else ""
        size = f"{one.hours:.3g} hours, {one.bytes / 1e9:.3g} GB"
        print_line(console, f"{one.folder}: {one.clips} clips, {size}{bad}")
