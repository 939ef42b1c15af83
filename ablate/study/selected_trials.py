"""Runs only some trials of a study, and one of them in the foreground: `ablate run FILE --only`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.records.plan import get_plan_file
from ablate.design.selection import SelectionError, is_condition, parse_selection
from ablate.executors.progress import print_line
from ablate.executors.worker import ONE_THREAD
from ablate.runs import store
from ablate.study import seed_rounds
from ablate.study.exit_codes import DONE, FAILED
from ablate.study.prepare import PreparedStudy

MAX_NAMES = 5  # selected trials that are named
PROBES_FILE = "foreground-probes.json"


def split_conditions(file: Path, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits `a=b` into conditions, which name a level or a seed, and settings to replace."""
    try:
        factors = {name: [*levels] for name, levels in loader.load(file).factors.items()}
    except StudyError:  # reported when the study is loaded to be run
        factors = {}
    conditions = [text for text in texts if is_condition(text, factors)]
    return conditions, [text for text in texts if text not in conditions]


def select_trials(prepared: PreparedStudy, conditions: Sequence[str]) -> PreparedStudy:
    """Returns the study with only the trials that fit. Raises `StudyError` if there is none."""
    plan = prepared.plan
    seeds = {trial.seed for trial in prepared.trials}
    try:
        selection = parse_selection(conditions, plan.factors, seeds)
    except SelectionError as error:
        raise StudyError([f"--only: {error}"]) from error
    kept = [
        (trial, entry)
        for trial, entry in zip(prepared.trials, plan.trials, strict=True)
        if selection.fits(entry.levels, entry.seed)
    ]
    if not kept:
        raise StudyError([f"--only: no trial has {' '.join(conditions)}"])
    entries = tuple(entry for _, entry in kept)
    return replace(
        prepared, trials=[trial for trial, _ in kept], plan=replace(plan, trials=entries)
    )


def run_selected(
    prepared: PreparedStudy,
    conditions: Sequence[str],
    work: Callable[[PreparedStudy], bool | None],
    folders: store.Folders,
    console: Console,
    *,
    foreground: bool,
) -> int:
    """Runs the trials that fit the conditions, and writes no report; returns the exit code.

    Args:
        prepared: The whole study.
        conditions: Levels and seeds, as `masker=block`.
        work: Runs what a study lacks.
        folders: Where runs and reports lie.
        console: Where messages are shown.
        foreground: Runs the one trial in this terminal, so that a debugger can be used.
    """
    chosen = select_trials(prepared, conditions)
    names = [f"{trial.variant}, seed {trial.seed}" for trial in chosen.trials]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    listed = "; ".join(names[:MAX_NAMES]) + more
    print_line(console, f"only {len(names)} of {len(prepared.trials)} trials: {listed}")
    if not get_plan_file(folders.reports, prepared.plan.study).exists():
        seed_rounds.save_plan(prepared, folders)  # so that `status` and `logs` find the trials
    failed = _run_in_foreground(chosen, folders) if foreground else work(chosen)
    if failed is not None:
        print_line(console, "no report was written; `ablate run` without --only writes it")
    return FAILED if failed else DONE


def _run_in_foreground(chosen: PreparedStudy, folders: store.Folders) -> bool:
    """Runs one trial in a process that has this terminal; returns whether it failed."""
    if len(chosen.trials) != 1:
        problem = f"--foreground runs one trial; {len(chosen.trials)} are selected"
        raise StudyError([f"{problem}: choose one, such as --only seed=0"])
    [trial] = chosen.trials
    folder = folders.runs / trial.fingerprint
    store.write_config(folder, kind="jepa", settings=trial.settings)
    probes = folder / PROBES_FILE
    probes.write_text(json.dumps(chosen.plan.probes))
    command = [sys.executable, "-m", "ablate.worker", str(folder), "--device", "auto", "--text"]
    try:
        done = subprocess.run(
            [*command, "--probes", str(probes), "--cache", str(folders.cache)],
            env={**ONE_THREAD, **os.environ},
        )
    finally:
        probes.unlink()
    return done.returncode != 0
