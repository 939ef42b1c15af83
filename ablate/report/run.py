"""What one run folder holds: how the run ended, what it recorded, and its scores."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablate.core.records.run import Environment, Machine, RunCost, RunMetrics, RunRecord
from ablate.runs.record import ENVIRONMENT_FILE, RECORD_FILE, read_record
from ablate.runs.scores import is_score_by
from ablate.runs.store import read_scores


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """What one probe says of one frozen encoder on one task; every number is in percent."""

    task: str
    probe: str
    pooling: str
    valid: float | None
    test: float | None
    folds: tuple[float, ...] = ()  # `test` of each, where it is their mean
    seeds: tuple[float, ...] = ()  # `test` by each seed of a probe that has several


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one run folder holds: how it ended, its `run.json`, and its scores."""

    state: str  # as in run.json, or "missing"
    reason: str | None
    record: RunRecord  # the content of run.json
    scores: tuple[ProbeScore, ...]
    machine: Machine | None = None  # from env.json

    @property
    def exists(self) -> bool:
        """Returns whether the run has been started."""
        return self.state != "missing"

    @property
    def code(self) -> str:
        """Returns the commit that made the run, in ten digits; empty where nobody knows."""
        return ((self.record.code and self.record.code.commit) or "")[:10]


def read_run(folder: Path | None, probes: Mapping[str, Any]) -> RunResult:
    """Reads a run folder, and of its scores those by a study's `probes`.

    One that is None or not there is a run that is missing. Raises `ValueError` for a file that is
    not JSON.
    """
    if folder is None or not (folder / RECORD_FILE).is_file():
        return RunResult(state="missing", reason="not run yet", record=RunRecord(), scores=())
    record = read_record(folder)
    environment = Environment.find(folder / ENVIRONMENT_FILE) or Environment()
    done = record.state == "done"  # what an unfinished run left behind is no score
    return RunResult(
        state=record.state,
        reason=record.reason,
        record=record,
        scores=tuple(_read_scores(folder, probes)) if done else (),
        machine=environment.machine,
    )


def _read_scores(folder: Path, probes: Mapping[str, Any]) -> Iterator[ProbeScore]:
    for result in read_scores(folder):
        for name, settings in probes.items():
            if not is_score_by(settings, result.settings):  # the same probe, another protocol
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
    found = {} if values is None else {k: _to_finite(v) for k, v in asdict(values).items()}
    return {key: value for key, value in found.items() if value is not None}


def _to_finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
