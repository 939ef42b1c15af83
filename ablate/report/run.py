"""Reads run folders: how a run ended, what it recorded, and its scores."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablate.core.records.run import Machine, RunCost, RunMetrics, RunRecord
from ablate.runs.predictions import (
    ClipPredictions,
    get_predictions_file,
    read_predictions,
)
from ablate.runs.rebuild import has_result, read_environment
from ablate.runs.record import RECORD_FILE, read_record
from ablate.runs.scores import is_score_by
from ablate.runs.store import SCORES, read_scores


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """The score of one frozen encoder by one probe on one task; every number is in percent."""

    task: str
    probe: str
    pooling: str
    valid: float | None
    test: float | None
    folds: tuple[float, ...] = ()  # `test` of each fold, if it is their mean
    seeds: tuple[float, ...] = ()  # `test` of each probe seed, if there are several


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The content of one run folder."""

    state: str  # as in run.json, or "missing"
    reason: str | None
    record: RunRecord  # the content of run.json
    scores: tuple[ProbeScore, ...]
    machine: Machine | None = None  # from env.json
    folder: Path | None = None  # None if the run is missing

    @property
    def exists(self) -> bool:
        """Whether the run has been started."""
        return self.state != "missing"

    @property
    def code(self) -> str:
        """The code that made the run: ten digits of its commit, and a digest of changes to it.

        Empty if unknown.
        """
        code = self.record.code
        if code is None or not code.commit:
            return ""
        return code.commit[:10] + (f"+{code.changes}" if code.changes else "")


def read_run(folder: Path | None, probes: Mapping[str, Any]) -> RunResult:
    """Reads a run folder.

    Args:
        folder: The run folder; if it is None or does not exist, the run is missing.
        probes: Settings of the study's probes by name; other scores are ignored.

    Raises:
        ValueError: If a file is not JSON, or of another format.
    """
    if folder is None or not ((folder / RECORD_FILE).is_file() or has_result(folder)):
        return RunResult(state="missing", reason="not run yet", record=RunRecord(), scores=())
    record = read_record(folder)
    environment = read_environment(folder)
    done = record.state == "done"  # scores of an unfinished run do not count
    return RunResult(
        state=record.state,
        reason=record.reason,
        record=record,
        scores=tuple(_read_scores(folder, probes)) if done else (),
        machine=environment.machine,
        folder=folder,
    )


def read_clip_predictions(
    run: RunResult, probes: Mapping[str, Any]
) -> Iterator[tuple[str, str, ClipPredictions]]:
    """Yields task, probe and predictions of a finished run; nothing for scores without any."""
    if run.folder is None or run.state != "done":
        return
    for result in read_scores(run.folder):
        names = [name for name, own in probes.items() if is_score_by(own, result.settings)]
        file = run.folder / SCORES / result.task / f"{result.key}.json"
        for predictions in read_predictions(get_predictions_file(file)) if names else ():
            for name in names:
                yield result.task, name, predictions


def _read_scores(folder: Path, probes: Mapping[str, Any]) -> Iterator[ProbeScore]:
    for result in read_scores(folder):
        for name, settings in probes.items():
            if not is_score_by(settings, result.settings):  # same probe, other settings
                continue
            for pooling, scores in result.scores.items():
                yield ProbeScore(
                    task=result.task,
                    probe=name,
                    pooling=pooling,
                    valid=_to_finite(scores.valid),
                    test=_to_finite(scores.test),
                    folds=tuple(scores.folds),
                    seeds=tuple(scores.seeds),
                )


def keep_finite_numbers(values: RunCost | RunMetrics | None) -> dict[str, float]:
    """Returns the fields that are finite numbers."""
    numbers = {} if values is None else {k: _to_finite(v) for k, v in asdict(values).items()}
    return {key: value for key, value in numbers.items() if value is not None}


def _to_finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
