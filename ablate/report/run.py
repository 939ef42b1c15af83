"""What one run folder holds: how the run ended, what it recorded, and its scores."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.core.io import read_json
from ablate.runs.scores import is_score_by


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
    record: Mapping[str, Any]  # the content of run.json
    scores: tuple[ProbeScore, ...]
    machine: Mapping[str, Any] = field(default_factory=dict)  # of `env.json`

    @property
    def code(self) -> str:
        """Returns the commit that made the run, in ten digits; empty where nobody knows."""
        return str((self.record.get("code") or {}).get("git") or "")[:10]


def read_run(folder: Path | None, probes: Mapping[str, Any]) -> RunResult:
    """Reads a run folder, and of its scores those by a study's `probes`.

    One that is None or not there is a run that is missing. Raises `ValueError` for a file that is
    not JSON.
    """
    if folder is None or not (folder / "run.json").is_file():
        return RunResult(state="missing", reason="not run yet", record={}, scores=())
    record = read_json(folder / "run.json")
    done = record["state"] == "done"  # what an unfinished run left behind is no score
    return RunResult(
        state=record["state"],
        reason=record.get("reason"),
        record=record,
        scores=tuple(_read_scores(folder / "probes", probes)) if done else (),
        machine=_read_machine(folder),
    )


def _read_machine(folder: Path) -> Mapping[str, Any]:
    known = folder / "env.json"
    return read_json(known).get("machine") or {} if known.is_file() else {}


def _read_scores(folder: Path, probes: Mapping[str, Any]) -> Iterator[ProbeScore]:
    for path in sorted(folder.glob("*/*.json")):
        result = read_json(path)
        for name, settings in probes.items():
            if not is_score_by(settings, result):  # the same probe, another protocol
                continue
            for pooling, scores in result["scores"].items():
                yield ProbeScore(
                    task=result["task"],
                    probe=name,
                    pooling=pooling,
                    valid=_to_finite(scores.get("valid")),
                    test=_to_finite(scores.get("test")),
                    folds=tuple(scores.get("folds") or ()),
                    seeds=tuple(scores.get("seeds") or ()),
                )


def keep_finite_numbers(values: Mapping[str, Any] | None) -> dict[str, float]:
    """Returns the values that are finite numbers."""
    found = {key: _to_finite(value) for key, value in (values or {}).items()}
    return {key: value for key, value in found.items() if value is not None}


def _to_finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
