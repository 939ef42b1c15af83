"""Checks the files of run folders: whether each can be read, and matches its checksum."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ablate.core.checked_tensors import load_tensors
from ablate.core.io import DamagedFileError
from ablate.core.records.messages import CheckRunsReply, CheckRunsRequest, ProgressMessage
from ablate.core.records.metrics_log import METRICS_FILE, parse_line
from ablate.core.records.record import FormatError
from ablate.core.records.run import (
    CONFIG_FILE,
    ENCODER_FILE,
    ENVIRONMENT_FILE,
    RECORD_FILE,
    TRAINING_FILE,
    Environment,
    RunConfig,
    RunRecord,
)
from ablate.core.records.score import ScoreFile, TaskList
from ablate.runs.rebuild import has_result
from ablate.runs.store import SCORES, TASKS_FILE
from ablate.training.checkpoint import Checkpoints
from ablate.worker.datasets import Emit
from ablate.worker.train import CHECKPOINTS

Check = Callable[[Path], object]


def check_runs(request: CheckRunsRequest, emit: Emit) -> CheckRunsReply:
    """Checks every run folder of a store; returns a line for each problem."""
    folders = sorted(path.parent for path in request.runs.glob(f"*/{CONFIG_FILE}"))
    problems: list[str] = []
    for done, folder in enumerate(folders):
        emit(ProgressMessage(label="check", done=done, total=len(folders)))
        problems += _check_run(folder)
    return CheckRunsReply(num_runs=len(folders), problems=tuple(problems))


def _check_run(folder: Path) -> Iterator[str]:
    for file, check in _list_checks(folder):
        try:
            check(file)
        except DamagedFileError as error:
            yield f"{file} {error.problem}"
        except FormatError as error:
            yield str(error)
        except (OSError, ValueError) as error:
            yield f"{file}: {error}"
    _, warnings = Checkpoints(folder / CHECKPOINTS).load()
    yield from warnings
    yield from _find_lost_encoder(folder)


def _list_checks(folder: Path) -> Iterator[tuple[Path, Check]]:
    """Yields the files of a run that exist, each with a function that raises if it is damaged."""
    checks: dict[str, Check] = {
        CONFIG_FILE: RunConfig.read,
        RECORD_FILE: RunRecord.read,
        TRAINING_FILE: RunRecord.read,
        ENVIRONMENT_FILE: Environment.read,
        TASKS_FILE: TaskList.read,
        ENCODER_FILE: load_tensors,
        f"{SCORES}/*/*.json": ScoreFile.read,
        METRICS_FILE: _read_metrics,
        "jobs.jsonl": _read_lines,
        "code-*.zip": _test_archive,
    }
    for pattern, check in checks.items():
        for file in sorted(folder.glob(pattern)):
            yield file, check


def _read_metrics(file: Path) -> None:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if parse_line(line) is None:
            raise DamagedFileError(file, f"has a damaged line, {number} of {len(lines)}")


def _read_lines(file: Path) -> None:
    lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise DamagedFileError(file, f"has a damaged line, {number} of {len(lines)}") from error


def _test_archive(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise DamagedFileError(file, "is no archive") from error
    if damaged is not None:
        raise DamagedFileError(file, f"holds a damaged file, {damaged}")


def _find_lost_encoder(folder: Path) -> Iterator[str]:
    try:
        record = RunRecord.find(folder / RECORD_FILE)
    except (DamagedFileError, FormatError):
        return  # named already
    is_trained = record is not None and record.kind == "jepa" and record.state == "done"
    if is_trained and not has_result(folder):
        yield f"{folder / ENCODER_FILE} is missing, although the run is done"
