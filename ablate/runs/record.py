"""Reads and writes `run.json`: an attempt at a run changes its state, and so do outside processes.

This is the only module that writes the file. States change as `core.records.run` allows.
"""

import contextlib
import hashlib
import logging
import os
import platform
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ablate.core.git import ROOT, get_commit, get_diff, is_dirty
from ablate.core.io import DamagedFileError, write_atomically
from ablate.core.records.run import (
    ENVIRONMENT_FILE,
    RECORD_FILE,
    TRAINING_FILE,
    CodeSnapshot,
    CodeVersion,
    Environment,
    Machine,
    ParameterCounts,
    RecordedState,
    RunCost,
    RunKind,
    RunMetrics,
    RunRecord,
)
from ablate.runs.code_archive import write_code_archive
from ablate.runs.hardware import find_cpu, find_driver, list_packages
from ablate.runs.rebuild import has_result, rebuild_record

logger = logging.getLogger(__name__)
SNAPSHOT = ROOT / "commit.json"  # lies beside code that was copied for a cluster
PACKAGES = ("torch", "torchaudio", "xformers", "numpy", "scikit-learn", "einops")
ENDED = ("preempted", "done", "failed", "cancelled")  # states in which a run's own process ends it

OutsideEnd = Literal["preempted", "failed", "cancelled"]


class SupersededError(Exception):
    """Another process has taken over the run; this one writes nothing more."""


def read_record(folder: Path) -> RunRecord:
    """Reads the record of a run; a planned one if the run was never started.

    A record that is damaged, or missing beside an encoder, is rebuilt from the other files, and
    its reason says so; the next attempt writes it. Raises `FormatError` for a record of another
    version.
    """
    try:
        record = RunRecord.find(folder / RECORD_FILE)
    except DamagedFileError as error:
        return rebuild_record(folder, f"{RECORD_FILE} {error.problem}")
    if record is None and has_result(folder):
        return rebuild_record(folder, f"{RECORD_FILE} is missing")
    return record or RunRecord()


def repair_record(folder: Path) -> None:
    """Writes the rebuilt record of a run whose `run.json` is damaged, if this user may."""
    try:
        RunRecord.find(folder / RECORD_FILE)
    except DamagedFileError:
        with contextlib.suppress(OSError):  # runs of a colleague, or an archive
            _write(folder, read_record(folder))


class RunAttempt:
    """One process's attempt at a run. Creating it claims the next attempt number.

    Only the latest attempt may write. The results of a finished training are kept in the record
    when the run is only scored again. `parts` are digests of the code of parts outside ablate.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: RunKind,
        device: str,
        device_name: str | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._log_folder = _claim_attempt(folder)
        self._number = int(self._log_folder.name)
        self._device, self._device_name = device, device_name
        self._parts = dict(parts or {})
        self._record = read_record(folder)
        self.was_done = self._record.state == "done"
        if self._record.kind is None:
            self._record = self._describe_process(replace(self._record, kind=kind))

    def start(self) -> None:
        """Marks the run as running, by this process. Raises `SupersededError`."""
        self.check_latest()
        self._record = replace(self._describe_process(self._record), parts=self._parts)
        environment, diff = describe_environment(self._device)
        archive = write_code_archive(self._folder, self._parts, diff)
        replace(environment, code_archive=archive).write(self._folder / ENVIRONMENT_FILE)
        self._write("running")

    def record_training(
        self,
        *,
        cost: RunCost,
        metrics: RunMetrics,
        collapsed: bool,
        warnings: Sequence[str],
        precision: str,
        attention: Sequence[str],
        ranks: int,
        parameters: ParameterCounts,
    ) -> None:
        """Adds the results of the finished training to a running run. Raises `SupersededError`."""
        self._record = replace(
            self._record,
            cost=cost,
            metrics=metrics,
            collapsed=collapsed,
            warnings=list(warnings),
            precision=precision,
            attention=list(attention),
            ranks=ranks,
            parameters=parameters,
        )
        self._record.write(self._folder / TRAINING_FILE)
        self.start()

    def preempt(self, reason: str, *, trained: bool = False) -> None:
        """Marks the run as stopped before its end, to be resumed, or done if it is `trained`.

        Raises `SupersededError`.
        """
        self._write(self._end_state("preempted", trained=trained), reason)

    def finish(self) -> None:
        """Marks the run as done. Raises `SupersededError`."""
        self._write("done")

    def fail(
        self, reason: str, *, details: str, trained: bool = False, collapsed: bool = False
    ) -> None:
        """Marks the run as failed, with `details` in the attempt's log.

        A run that is `trained`, or was done before, stays done: only its scoring failed, and other
        studies may share it. Raises `SupersededError`.
        """
        if collapsed:
            self._record = replace(self._record, collapsed=True)
        self._write(self._end_state("failed", trained=trained), reason, details)

    def cancel(self, reason: str, *, trained: bool = False) -> None:
        """Marks the run as cancelled, or done if it is `trained`. Raises `SupersededError`."""
        self._write(self._end_state("cancelled", trained=trained), reason)

    def check_latest(self) -> None:
        """Raises `SupersededError` if a later attempt was made."""
        if _find_latest(self._log_folder.parent) > self._number:
            raise SupersededError(
                f"attempt {self._log_folder.name} was superseded by another process"
            )

    def _end_state(self, state: RecordedState, *, trained: bool) -> RecordedState:
        return "done" if self.was_done or trained else state

    def _describe_process(self, record: RunRecord) -> RunRecord:
        return replace(
            record,
            host=socket.gethostname(),
            device=self._device,
            device_name=self._device_name,
            code=read_code_version(),
            versions=list_versions(),
        )

    def _write(self, state: RecordedState, reason: str | None = None, details: str = "") -> None:
        self.check_latest()
        self._record = self._record.with_state(state, reason, attempt=self._number)
        _write(self._folder, self._record)
        log = f"attempt {self._number}, process {os.getpid()}: {state}\n{details}"
        write_atomically(self._log_folder / "log.txt", log)


def mark_ended(folder: Path, state: OutsideEnd, reason: str) -> None:
    """Ends the record of a run whose process died, unless that process ended it itself."""
    record = read_record(folder)
    if record.state not in ENDED:
        _write(folder, record.with_state(state, reason))


def replace_end(folder: Path, state: OutsideEnd, reason: str) -> None:
    """Writes how a run ended, whatever its own process wrote; a run that is done stays done."""
    _write(folder, read_record(folder).with_end(state, reason))


def mark_pruned(folder: Path, reason: str) -> None:
    """Marks a preempted run that a sweep has pruned; another study may still resume it."""
    record = read_record(folder)
    if record.state == "preempted":
        _write(folder, record.with_state("pruned", reason))


def reset_failed(folder: Path) -> None:
    """Cancels a failed run, so that the next session of its study tries it again.

    Raises `TransitionError` if the run has not failed.
    """
    record = read_record(folder)
    _write(folder, record.with_state("cancelled", f"to be tried again after {record.reason}"))


def _write(folder: Path, record: RunRecord) -> None:
    file = folder / RECORD_FILE
    try:
        RunRecord.find(file)
    except DamagedFileError as error:
        aside = file.replace(folder / f"{RECORD_FILE}.damaged")  # to see what happened
        logger.warning("%s %s; it is kept as %s", file, error.problem, aside.name)
    record.write(file)


def _claim_attempt(folder: Path) -> Path:
    """Creates the next attempt's folder, which is atomic on network file systems too."""
    attempts = folder / "attempts"
    attempts.mkdir(parents=True, exist_ok=True)
    number = 1 + _find_latest(attempts)
    while True:
        try:
            (attempts / f"{number:03d}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return attempts / f"{number:03d}"


def _find_latest(attempts: Path) -> int:
    """Returns the number of the latest attempt; network disks leave other files beside them."""
    numbers = (path.name for path in attempts.iterdir())
    return max((int(name) for name in numbers if name.isdecimal()), default=0)


def count_attempts(folder: Path) -> int:
    """Returns how many attempts at a run were made."""
    attempts = folder / "attempts"
    return _find_latest(attempts) if attempts.is_dir() else 0


def list_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect numbers, by name."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # xformers has no wheel for every platform
            versions[name] = version(name)
    return versions


@lru_cache
def read_code_version() -> CodeVersion:
    """Returns the commit of this package."""
    snapshot = CodeSnapshot.find(SNAPSHOT)
    if snapshot is None:
        snapshot = CodeSnapshot(commit=get_commit(), dirty=is_dirty(), diff=get_diff())
    diff = (snapshot.diff or "").encode()
    changes = hashlib.blake2b(diff, digest_size=4).hexdigest() if diff and snapshot.dirty else None
    return CodeVersion(commit=snapshot.commit, dirty=snapshot.dirty, changes=changes)


@lru_cache
def describe_environment(device: str) -> tuple[Environment, str | None]:
    """Describes the machine, SLURM job and packages of this process, and its uncommitted code.

    Args:
        device: the device that trains, such as `cuda:0`.
    """
    snapshot = CodeSnapshot.find(SNAPSHOT)
    environment = Environment(
        machine=Machine(
            platform=platform.platform(),
            processor=platform.machine(),
            cores=os.cpu_count(),
            argv=sys.argv,
            cpu=find_cpu(),
            driver=find_driver(device),
        ),
        slurm={name: value for name, value in os.environ.items() if name.startswith("SLURM_JOB")},
        versions=list_versions(),
        packages=list_packages(),
    )
    return environment, get_diff() if snapshot is None else snapshot.diff
