"""Shows a study's trials, sweeps and report in Optuna's dashboard, on 127.0.0.1.

The trials of a grid are written from the run folders into its journal when the dashboard is opened.
Those of a sweep are in its storage already, and appear while it runs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from ablate.config import loader
from ablate.config.study import Study, StudyError
from ablate.core.records.plan import StudyPlan, get_plan_file
from ablate.dashboards.optuna_content import HOST, DashboardStorage, GridTrial, StudyPage
from ablate.design.trials import get_setting_label
from ablate.executors.progress import create_console, print_line
from ablate.report.figures import plotly
from ablate.report.figures.metrics import QUANTITIES, read_curves
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, TrialResult, format_variant, get_levels, read_results
from ablate.report.stats.verdicts import compute_verdicts
from ablate.runs import preview, store
from ablate.study.exit_codes import DONE, run_with_exit_code
from ablate.sweep import tuning
from ablate.sweep.storage import open_storage, storage_errors

# images of the report, whose relative links do not work in the dashboard
IMAGE = re.compile(r"^!\[.*\n?", re.MULTILINE)


def serve_dashboard(file: Path, overrides: Sequence[str] = (), *, port: int) -> int:
    """Writes the dashboard of a study, and serves it until interrupted; returns the exit code.

    Port 0 is any free port.
    """
    console = create_console()

    def run() -> int:
        study = loader.load(file, overrides)
        dashboard = write_dashboard(study, store.get_folders())
        with _open_server(dashboard, port) as server, suppress(KeyboardInterrupt):
            print_line(
                console, f"http://{HOST}:{server.server_port} shows {study.name}; Ctrl-C stops it"
            )
            server.serve_forever()
        return DONE

    return run_with_exit_code(run)


def _open_server(dashboard: DashboardStorage, port: int) -> WSGIServer:
    """Opens the port. Raises `StudyError` if it cannot be used."""
    try:
        return dashboard.create_server(port)
    except OSError as error:
        problem = f"port {port} cannot be used ({error.strerror}); choose another: --port 0"
        raise StudyError([problem]) from None


def write_dashboard(study: Study, folders: store.Folders) -> DashboardStorage:
    """Writes a study's finished trials, notes, figures and pictures to its storage.

    The journal of a grid is rewritten.

    Raises:
        StudyError: The study has not been run yet.
        StorageError: The storage cannot be used.
    """
    reports = folders.reports / study.name
    plan = StudyPlan.find(get_plan_file(folders.reports, study.name))
    journal = tuning.get_journal(folders.reports, study.name)
    url = None if study.sweep is None else study.sweep.storage
    if plan is None and url is None and not journal.exists():
        advice = f"if it does not run now: ablate run {study.file}"
        raise StudyError([f"{reports} has no trial or point to show yet; {advice}"])
    if study.sweep is None:
        journal.unlink(missing_ok=True)  # a grid's journal is derived from its runs
    with storage_errors(url or str(journal)):
        dashboard = DashboardStorage(open_storage(url, journal), reports / "artifacts")
        if plan is not None:
            _write_grid(dashboard, study, plan, folders)
        for name in dashboard.list_studies():
            if name.startswith((f"{study.name}: ", f"{study.name} (")):
                _write_sweep(dashboard, study, name, plan, folders)
    return dashboard


def _write_grid(
    dashboard: DashboardStorage, study: Study, plan: StudyPlan, folders: store.Folders
) -> None:
    results = read_results(plan, folders.runs)
    reports = folders.reports / study.name
    pictures = _find_pictures(plan, reports)
    trials = [
        _describe_trial(trial, results, folders.runs, _select_pictures(trial.levels, pictures))
        for trial in results.trials
        if trial.state in ("done", "failed", "unscored")
    ]
    page = StudyPage(
        note=_read_report(study, plan, reports),
        figures=_build_figures(results, folders.runs),
        pictures=list(pictures.values()),
    )
    dashboard.write_grid(study.name, format_score_name(results), trials, page)


def _write_sweep(
    dashboard: DashboardStorage,
    study: Study,
    name: str,
    plan: StudyPlan | None,
    folders: store.Folders,
) -> None:
    notes = {}
    for number, params, facts in dashboard.iterate_finished(name):
        runs = [str((folders.runs / run).absolute()) for run in facts.get("runs", ())]
        lines = [f"- {key}: {value}" for key, value in params.items()]
        end = "" if "pruned" in facts else "Failed: "
        reason = [f"{end}{facts['reason']}"] if "reason" in facts else []
        notes[number] = "\n".join(
            ["Settings:", "", *lines, "", *reason, "Runs:", "", *_format_list(runs)]
        )
    dashboard.write_notes(name, notes)
    text = f"# {study.title or study.name}\n\nA sweep, judged on validation clips. The best"
    report = (folders.reports / study.name / "index.html").absolute()
    note = f"{text} points were trained on fresh seeds: see the study `{study.name}` and {report}."
    pictures = {} if plan is None else _find_pictures(plan, folders.reports / study.name)
    tuned = (result.levels for result in (plan.sweep if plan else ()) if result.search == name)
    masks = [picture for levels in tuned for picture in _select_pictures(levels, pictures)]
    dashboard.write_page(name, StudyPage(note=note, figures={}, pictures=masks))


def _describe_trial(
    trial: TrialResult, results: Results, runs: Path, pictures: Sequence[Path]
) -> GridTrial:
    folder = (runs / (trial.fingerprint or "")).absolute()
    baseline = results.plan.baseline
    compared = next(
        (t for t in results.trials if t.levels == baseline and t.seed == trial.seed), trial
    )
    changes = preview.format_changes(compared.plan.settings, trial.plan.settings)
    differs = _format_list(changes) or ["- nothing: this is the baseline"]
    reason = [f"Failed: {trial.reason}", ""] if trial.score is None else []
    head = f"**{format_variant(get_levels(trial, results.factors))}, seed {trial.seed}**"
    lines = [head, "", *reason, "Against the baseline:", "", *differs, "", f"Run: `{folder}`"]
    values = {**trial.metrics, **trial.cost, "gain": trial.gain, "collapsed": trial.collapsed}
    facts = {key: value for key, value in values.items() if value is not None}
    return GridTrial(
        params={**trial.levels, "seed": str(trial.seed)},
        score=trial.score,
        note="\n".join(lines),
        facts={**facts, "run": str(folder), **({"reason": trial.reason} if reason else {})},
        pictures=pictures,
    )


def _find_pictures(plan: StudyPlan, reports: Path) -> dict[tuple[str, str], Path]:
    """Returns the study's pictures of masks, by masker and patchifier."""
    drawn = plan.gallery.pictures if plan.gallery else ()
    files = {(p.masker, p.patchifier): reports / "gallery" / p.file for p in drawn}
    return {labels: file for labels, file in files.items() if file.is_file()}


def _select_pictures(
    levels: Mapping[str, str], pictures: Mapping[tuple[str, str], Path]
) -> Sequence[Path]:
    masker, patchifier = (get_setting_label(levels, part) for part in ("masker", "patchifier"))
    picture = pictures.get((masker, patchifier))
    return [picture] if picture else []


def _build_figures(results: Results, runs: Path) -> dict[str, Mapping[str, Any]]:
    curves = read_curves(results, runs)
    drawn = {f"learning-{name}": plotly.build_learning_curves(curves, name) for name in QUANTITIES}
    return {
        "forest": plotly.build_forest(results, compute_verdicts(results)),
        "factors": plotly.build_parallel_factors(results),
        **{name: figure for name, figure in drawn.items() if figure["data"]},
    }


def _read_report(study: Study, plan: StudyPlan, reports: Path) -> str:
    """Returns the report, or the title of the study before its first report."""
    report = reports / "report.md"
    if not report.is_file():
        return f"# {plan.title or study.name}\n\nNo report yet."
    return IMAGE.sub("", report.read_text(encoding="utf-8"))


def _format_list(lines: Iterable[str]) -> list[str]:
    return [f"- `{line}`" for line in lines]
