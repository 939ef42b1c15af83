"""Reads run folders: how a run ended, what it recorded, and its scores."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.core.io import DamagedFileError
from ablate.core.records.run import RECORD_FILE, Machine, RunCost, RunMetrics, RunRecord
from ablate.core.records.score import ScoreFile
from ablate.report.stats.influence import compute_group_influences
from ablate.report.stats.shared_groups import TaskInfluences, join_tasks
from ablate.runs.predictions import ClipPredictions, Part, get_predictions_file, read_predictions
from ablate.runs.rebuild import has_result, read_environment
from ablate.runs.record import read_record
from ablate.runs.scores import is_score_by
from ablate.runs.store import SCORES, read_scores

logger = logging.getLogger(__name__)
# (tasks, digest of their clips) -> influence of each group of clips on the mean over all tasks
Influences = Mapping[tuple[str, str], NDArray[np.float64]]


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
    probes: Mapping[str, Any] = field(default_factory=dict, repr=False)  # settings by name

    @property
    def exists(self) -> bool:
        """Whether the run has been started."""
        return self.state != "missing"

    def load_influences(self, probe: str, pooling: str, part: Part = "test") -> Influences:
        """Loads how much the mean score by one probe depends on each group of clips.

        Returns:
            (tasks, digest of their clips) -> (groups,), in points of the mean over all tasks; tasks
            that share recordings or other groups are one entry. Empty if the predictions of a task
            were not kept, or its metric does not allow it.
        """
        if (probe, pooling, part) not in self._influences:
            self._influences[probe, pooling, part] = _compute_influences(self, probe, pooling, part)
        return self._influences[probe, pooling, part]

    @cached_property
    def _influences(self) -> dict[tuple[str, str, Part], Influences]:
        return {}

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
        probes=probes,
    )


def read_clip_predictions(
    run: RunResult, pooling: str | None = None
) -> Iterator[tuple[str, str, ClipPredictions]]:
    """Yields task, probe and predictions of a finished run; nothing for scores without any."""
    for name, result, kept in _read_kept(run, pooling):
        yield from ((result.task, name, predictions) for predictions in kept)


def _read_kept(
    run: RunResult, pooling: str | None
) -> Iterator[tuple[str, ScoreFile, list[ClipPredictions]]]:
    """Yields the name of the probe, the scores and the predictions of every score file."""
    if run.folder is None or run.state != "done":
        return
    for result in read_scores(run.folder):
        names = [name for name, own in run.probes.items() if is_score_by(own, result.settings)]
        file = run.folder / SCORES / result.task / f"{result.key}.json"
        try:
            kept = read_predictions(get_predictions_file(file), pooling) if names else []
        except DamagedFileError as error:
            logger.warning("%s; until then nothing is computed from its clips", error)
            continue
        for name in names:
            yield name, result, kept


def _compute_influences(run: RunResult, probe: str, pooling: str, part: Part) -> Influences:
    influences = []
    for name, result, kept in _read_kept(run, pooling):
        if name != probe or pooling not in result.scores:
            continue
        own = [predictions for predictions in kept if predictions.part == part]
        metric = result.scores[pooling].metric
        values = compute_group_influences(own[0], metric) if own else None
        if values is None:
            return {}
        used = np.unique(own[0].groups)  # the others are of the other part
        names = tuple(own[0].group_names[group] for group in used) if own[0].has_names else ()
        influences.append(
            TaskInfluences(task=result.task, digest=own[0].digest, values=values[used], names=names)
        )
    return join_tasks(influences)


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
