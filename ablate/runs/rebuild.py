"""Rebuilds the record of a run whose `run.json` is damaged or missing, from the other files.

`training.json` keeps what is known when the training has ended; nothing else is made up: what no
file says stays empty, and the record says so.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ablate.core.io import DamagedFileError
from ablate.core.records.record import FormatError
from ablate.core.records.run import (
    CONFIG_FILE,
    ENCODER_FILE,
    ENVIRONMENT_FILE,
    TRAINING_FILE,
    Environment,
    RunConfig,
    RunRecord,
)

logger = logging.getLogger(__name__)
UNKNOWN = "what the training cost, its curves' summary and its code are not known"


def has_result(folder: Path) -> bool:
    """Returns whether a run has a trained encoder."""
    return (folder / ENCODER_FILE).is_file()


def rebuild_record(folder: Path, problem: str) -> RunRecord:
    """Rebuilds a record from the other files of a run folder; writes nothing.

    A run with an encoder is done. Any other is preempted, and continues from its checkpoint.

    Args:
        folder: the run folder.
        problem: why `run.json` cannot be read; it becomes a part of the reason.
    """
    is_done = has_result(folder)
    record = _find_training(folder) if is_done else None
    reason = f"{problem}; rebuilt from the other files of the run"
    if record is None:
        kind = None
        with suppress(DamagedFileError, FormatError):
            config = RunConfig.find(folder / CONFIG_FILE)
            kind = None if config is None else config.kind
        environment = read_environment(folder)
        record = RunRecord(kind=kind, versions=environment.versions)
        if is_done:
            record = replace(record, warnings=[f"{problem}; {UNKNOWN}"])
    return replace(record, state="done" if is_done else "preempted", reason=reason, failure=None)


def read_environment(folder: Path) -> Environment:
    """Reads where a run was trained; an empty record if that is missing.

    It is also empty, with a warning, if the file is damaged.
    """
    try:
        return Environment.find(folder / ENVIRONMENT_FILE) or Environment()
    except DamagedFileError as error:
        logger.warning("%s %s; where the run was trained is not known", error.path, error.problem)
        return Environment()


def _find_training(folder: Path) -> RunRecord | None:
    with suppress(DamagedFileError, FormatError):
        return RunRecord.find(folder / TRAINING_FILE)
    return None
