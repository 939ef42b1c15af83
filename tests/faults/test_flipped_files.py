"""Tests that no flipped bit in any file of a study changes a number of its report silently.

`ABLATE_FLIPS=300` flips as many random bits: in encoders, checkpoints, clips, features, scores,
predictions, every record of a run, the plan, the looks, and the points and storage of a sweep.
After each, the study is run and read again, as `ablate run` does it, and every number is compared.
"""

import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.config import loader
from ablate.core.records.metrics_log import METRICS_FILE, read_rows
from ablate.core.records.plan import StudyPlan
from ablate.core.records.planning import PlanRequest
from ablate.design import factors
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.report.figures.metrics import read_curves
from ablate.report.pages.classes import TaskClasses, collect_classes
from ablate.report.results import read_results
from ablate.report.stats.verdicts import compute_verdicts
from ablate.runs import store
from ablate.runs.rebuild import read_environment
from ablate.runs.record import read_record
from ablate.study.interim_looks import recorded_looks
from ablate.study.prepare import PreparedStudy, apply_sweep, prepare
from ablate.worker.validation import validate
from tests.executors.stand_in import STAND_IN
from tests.faults.test_kills import complete
from tests.sweep.test_tuning import STUDY as SWEEP
from tests.worker.runs import ignore, run_folder

NUM_FLIPS = int(os.environ.get("ABLATE_FLIPS", "0"))
RUN_RECORDS = ("run.json", "config.json", "env.json", "training.json", METRICS_FILE)
pytestmark = pytest.mark.skipif(
    not NUM_FLIPS, reason="runs a study after each flip; asked for with ABLATE_FLIPS=300"
)


@dataclass(frozen=True)
class Kind:
    """Files to damage, and what has to be deleted before, so that they are read again."""

    pattern: str
    delete: tuple[str, ...] = ()
    base: str = "finished"
    trains: bool = False  # so that times differ


SCORES = ("runs/*/probes",)
KINDS = {
    "encoder": Kind("runs/*/encoder.safetensors", (*SCORES, "cache/features")),
    "checkpoint": Kind("runs/*/checkpoints/*.pt", base="paused", trains=True),
    "clips": Kind("cache/*/[fij][rno][adu]*", ("runs/*", "cache/features"), trains=True),
    "features": Kind("cache/features/*/*/*", SCORES),
    "scores": Kind("runs/*/probes/**/*.json"),
    "predictions": Kind("runs/*/probes/*/*.safetensors"),
    **{name: Kind(f"runs/*/{name}") for name in RUN_RECORDS},
    "plan.json": Kind("reports/*/plan.json"),
    "looks": Kind("runs/looks/*.json"),
    "sweep points": Kind("runs/*/sweep_points/*.json", ("reports/*/optuna.journal",), "sweep"),
    "sweep storage": Kind("reports/*/optuna.journal", base="sweep"),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished study, the same with a paused trial, and a finished sweep."""
    finished = tmp_path_factory.mktemp("finished")
    assert complete(finished, finished / "cache") == 0
    paused = Path(shutil.copytree(finished, tmp_path_factory.mktemp("paused") / "study"))
    plan = read_plan(paused)
    for trial in plan.trials:
        folder = paused / "runs" / trial.fingerprint
        shutil.rmtree(folder)
        store.write_config(folder, kind="jepa", settings=trial.settings)
        for step in (40, 80):
            run_folder(folder, paused / "cache", plan.probes, until=step)
    sweep = tmp_path_factory.mktemp("sweep")
    (sweep / "study.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        observe_sweep(sweep, patch)
    return {"finished": finished, "paused": paused, "sweep": sweep}


def read_plan(folder: Path) -> StudyPlan:
    [file] = folder.glob("reports/*/plan.json")
    return StudyPlan.read(file)


def observe_study(folder: Path, plan: StudyPlan) -> dict[str, object]:
    """Plans the study, runs what is missing, and reads every number of its report."""
    runs, cache = folder / "runs", folder / "cache"
    study = loader.load(folder / "study.yaml")
    trials = design.build_trials(study, factors.build_factors(study))
    request = PlanRequest(
        trials=tuple(trial.settings for trial in trials), probes=dict(study.probes)
    )
    reply = validate(request, cache, ignore)
    if problems := [*reply.problems, *(p for t in reply.trials for p in t.problems)]:
        raise ValueError("; ".join(problem.message for problem in problems))
    prepared = PreparedStudy(study, design.resolve_trials(trials, reply.trials), plan)
    jobs = prepared.find_pending(runs).jobs(runs, plan.probes)
    for job in jobs:
        done = run_folder(job.folder, cache, plan.probes)
        if done.state != "done":
            raise ValueError(f"{job.folder}: {done.state}: {done.reason}")
    saved = read_plan(folder)
    results = read_results(saved, runs)
    folders = store.list_run_folders(saved, runs)
    return {
        "scores": results.scores().to_csv(),
        "verdicts": repr(compute_verdicts(results)),  # in which nan is nan
        "classes": _format_classes(collect_classes(results)),
        "states": [trial.state for trial in results.trials],
        "looks": recorded_looks(plan, runs),
        "encoders": [file.read_bytes() for file in sorted(runs.glob("*/encoder.safetensors"))],
        "curves": [_drop_times(rows) for rows in map(read_rows, _list_logs(folders))],
        "drawn": len(read_curves(results, runs)),
        "plan": saved.to_text(),
        "environments": list(map(read_environment, folders)),
        "records": [_drop_attempt(read_record(f).to_json()) for f in folders],
        "reasons": [store.read_status(folder).reason for folder in folders],
    }


def _format_classes(tasks: Sequence[TaskClasses]) -> str:
    with np.printoptions(threshold=sys.maxsize):
        return repr(tasks)


def _list_logs(folders: list[Path]) -> list[Path]:
    return [folder / METRICS_FILE for folder in folders if (folder / METRICS_FILE).exists()]


def _drop_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def _drop_attempt(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("attempt", "reason")}


def observe_sweep(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, object]:
    """Runs a sweep with a stand-in for the worker, and returns its best points."""
    patch.chdir(folder)
    study, folders, console = loader.load(Path("study.yaml")), store.get_folders(), create_console()
    with Pool(folders.cache, size=1, command=STAND_IN) as pool:
        tuned = apply_sweep(prepare(study, pool, console), pool, folders, console)
    trials = [trial.settings for trial in tuned.trials]
    return {"best": [replace(best, search="") for best in tuned.plan.sweep], "trials": trials}


def flip_bit(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    bit = draw.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def delete(folder: Path, patterns: tuple[str, ...]) -> None:
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture(scope="module")
def expected() -> dict[str, dict[str, object]]:
    """What was observed without a flip, by kind of file; filled by the tests."""
    return {}


@pytest.mark.parametrize("number", range(NUM_FLIPS))
def test_a_flipped_bit_changes_no_number_silently(
    bases: dict[str, Path],
    expected: dict[str, dict[str, object]],
    tmp_path: Path,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    draw = random.Random(number)
    name = list(KINDS)[number % len(KINDS)]
    kind, folder, base = KINDS[name], tmp_path / "study", bases[KINDS[name].base]
    shutil.copytree(base, folder)
    files = [path for path in sorted(folder.glob(kind.pattern)) if path.stat().st_size]
    file = draw.choice([path for path in files if path.is_file()])

    def observe() -> dict[str, object]:
        delete(folder, kind.delete)
        if kind.base == "sweep":
            return observe_sweep(folder, monkeypatch)
        return observe_study(folder, read_plan(base))

    if name not in expected:
        expected[name] = observe()
        shutil.rmtree(folder)
        shutil.copytree(base, folder)
    flip_bit(file, draw)
    caplog.clear()
    capfd.readouterr()
    refusal = ""
    with caplog.at_level(logging.WARNING):
        try:
            actual = observe()
        except (ValueError, RuntimeError, OSError) as error:
            refusal = str(error)
            actual = {}
    words = " ".join([refusal, caplog.text, *capfd.readouterr(), str(actual.get("reasons"))])
    changed = [key for key in actual if actual[key] != expected[name][key] and key != "reasons"]
    if kind.trains:
        changed = [key for key in changed if key not in ("records", "environments")]
    is_named = file.name in words or str(file.parent) in words
    outcome = "refused" if refusal else "named" if is_named else "harmless"
    if changed and not is_named:
        outcome = "silent"
    record_property("flip", f"{name}: {outcome}")
    assert not refusal or is_named, refusal
    assert outcome != "silent", (file, changed)
