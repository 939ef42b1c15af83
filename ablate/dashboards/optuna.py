"""The door to Optuna's dashboard: a study's trials, sweeps and report in a browser, on 127.0.0.1.

The runs are the truth. A grid's trials are written into its journal when the dashboard is opened;
a sweep's are there already and grow while it runs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from ablate.config import loader
from ablate.config.study import Study, StudyError
from ablate.core.io import find_json
from ablate.dashboards.optuna_content import HOST, Entry, Page, Window
from ablate.design.trials import label_within
from ablate.executors.progress import create_console, print_line
from ablate.report.figures import plotly
from ablate.report.figures.metrics import QUANTITIES, read_curves
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, TrialResult, format_variant, get_levels, read_results
from ablate.report.stats.verdicts import compute_verdicts
from ablate.runs import status as run_status
from ablate.runs import store
from ablate.study.exit_codes import DONE, ended
from ablate.sweep import tuning
from ablate.sweep.storage import open_storage, reachable

IMAGE = re.compile(r"^!\[.*\n?", re.MULTILINE)  # the note's links lead nowhere in a browser
Plan = Mapping[str, Any]


def show(file: Path, overrides: Sequence[str] = (), *, port: int) -> int:
    """Writes what there is to show, and serves it until interrupted; returns the exit code.

    Port 0 is any that is free.
    """
    console = create_console()

    def act() -> int:
        study = loader.load(file, overrides)
        window = fill(study, store.get_folders())
        with _opened(window, port) as server, suppress(KeyboardInterrupt):
            print_line(
                console, f"http://{HOST}:{server.server_port} shows {study.name}; Ctrl-C stops it"
            )
            server.serve_forever()
        return DONE

    return ended(act)


def _opened(window: Window, port: int) -> WSGIServer:
    """Opens the port. Raises `StudyError` where it cannot be used."""
    try:
        return window.server(port)
    except OSError as error:
        problem = f"port {port} cannot be used ({error.strerror}); choose another: --port 0"
        raise StudyError([problem]) from None


def fill(study: Study, folders: store.Folders) -> Window:
    """Writes a study's finished trials, notes, figures and pictures where a dashboard looks.

    A grid's journal is written anew. Raises `StudyError` where nothing has been run yet, and
    `StorageError`.
    """
    reports = folders.reports / study.name
    plan = find_json(reports / "plan.json")
    journal = tuning.journal(folders.reports, study.name)
    url = None if study.sweep is None else study.sweep.storage
    if plan is None and url is None and not journal.exists():
        advice = f"run the study first: ablate run {study.file}"
        raise StudyError([f"{reports} holds nothing yet; {advice}"])
    if study.sweep is None:
        journal.unlink(missing_ok=True)  # of a grid it holds nothing that the runs do not
    with reachable(url or str(journal)):
        window = Window(open_storage(url, journal), reports / "artifacts")
        if plan is not None:
            _write_grid(window, study, plan, folders)
        for name in window.studies():
            if name.startswith((f"{study.name}: ", f"{study.name} (")):
                _decorate_sweep(window, study, name, plan or {}, folders)
    return window


def _write_grid(window: Window, study: Study, plan: Plan, folders: store.Folders) -> None:
    results = read_results(plan, folders.runs)
    reports = folders.reports / study.name
    pictures = _gallery(plan, reports)
    entries = [
        _entry(trial, results, folders.runs, _pictured(trial.levels, pictures))
        for trial in results.trials
        if trial.state in ("done", "failed", "unscored")
    ]
    page = Page(
        note=_note(study, plan, reports),
        figures=_figures(results, folders.runs),
        pictures=list(pictures.values()),
    )
    window.show_grid(study.name, format_score_name(results), entries, page)


def _decorate_sweep(
    window: Window, study: Study, name: str, plan: Plan, folders: store.Folders
) -> None:
    notes = {}
    for number, params, facts in window.ended(name):
        runs = [str((folders.runs / run).absolute()) for run in facts.get("runs", ())]
        lines = [f"- {key}: {value}" for key, value in params.items()]
        end = "" if "pruned" in facts else "Failed: "
        reason = [f"{end}{facts['reason']}"] if "reason" in facts else []
        notes[number] = "\n".join(
            ["Settings:", "", *lines, "", *reason, "Runs:", "", *_listed(runs)]
        )
    window.annotate(name, notes)
    text = f"# {study.title or study.name}\n\nA sweep, judged on validation clips. The best"
    where = (folders.reports / study.name / "index.html").absolute()
    note = f"{text} points were trained on fresh seeds: see the study `{study.name}` and {where}."
    pictures = _gallery(plan, folders.reports / study.name)
    tuned = (found["levels"] for found in plan.get("sweep", ()) if found["search"] == name)
    masks = [picture for levels in tuned for picture in _pictured(levels, pictures)]
    window.decorate(name, Page(note=note, figures={}, pictures=masks))


def _entry(trial: TrialResult, results: Results, runs: Path, pictures: Sequence[Path]) -> Entry:
    folder = (runs / (trial.fingerprint or "")).absolute()
    baseline = results.plan["baseline"]
    compared = next(
        (t for t in results.trials if t.levels == baseline and t.seed == trial.seed), trial
    )
    changes = run_status.format_changes(compared.plan["settings"], trial.plan["settings"])
    differs = _listed(changes) or ["- nothing: this is the baseline"]
    reason = [f"Failed: {trial.reason}", ""] if trial.score is None else []
    head = f"**{format_variant(get_levels(trial, results.factors))}, seed {trial.seed}**"
    lines = [head, "", *reason, "Against the baseline:", "", *differs, "", f"Run: `{folder}`"]
    known = {**trial.metrics, **trial.cost, "gain": trial.gain, "collapsed": trial.collapsed}
    facts = {key: value for key, value in known.items() if value is not None}
    return Entry(
        params={**trial.levels, "seed": str(trial.seed)},
        score=trial.score,
        note="\n".join(lines),
        facts={**facts, "run": str(folder), **({"reason": trial.reason} if reason else {})},
        pictures=pictures,
    )


def _gallery(plan: Plan, reports: Path) -> dict[tuple[str, str], Path]:
    """Finds the pictures of masks that the study has drawn, by masker and patchifier."""
    drawn = (plan.get("gallery") or {}).get("pictures", ())
    files = {(p["masker"], p["patchifier"]): reports / "gallery" / p["file"] for p in drawn}
    return {labels: file for labels, file in files.items() if file.is_file()}


def _pictured(
    levels: Mapping[str, str], pictures: Mapping[tuple[str, str], Path]
) -> Sequence[Path]:
    masker, patchifier = (label_within(levels, part) for part in ("masker", "patchifier"))
    found = pictures.get((masker, patchifier))
    return [found] if found else []


def _figures(results: Results, runs: Path) -> dict[str, Mapping[str, Any]]:
    curves = read_curves(results, runs)
    drawn = {f"learning-{name}": plotly.build_learning_curves(curves, name) for name in QUANTITIES}
    return {
        "forest": plotly.build_forest(results, compute_verdicts(results)),
        "factors": plotly.build_parallel_factors(results),
        **{name: figure for name, figure in drawn.items() if figure["data"]},
    }


def _note(study: Study, plan: Plan, reports: Path) -> str:
    """Returns the report or, before there is one, the question."""
    report = reports / "report.md"
    if not report.is_file():
        return f"# {plan['title'] or study.name}\n\nNo report yet."
    return IMAGE.sub("", report.read_text(encoding="utf-8"))


def _listed(lines: Iterable[str]) -> list[str]:
    return [f"- `{line}`" for line in lines]
