"""What a study found, as one small JSON file beside its report: for a README, a script, a paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ablate.core.io import read_json
from ablate.report.pages.caveats import list_overlap_warnings
from ablate.report.pages.data_summary import format_data_summary
from ablate.report.pages.page import ReportPage
from ablate.report.pages.table import Row
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, format_variant
from ablate.report.stats.decision_rules import read_decision_rules

FILE = "findings.json"
Findings = Mapping[str, Any]
ABOVE = ("gain", "over_mel_statistics")  # what a score is above its two references


def findings(results: Results, page: ReportPage) -> dict[str, Any]:
    """Returns what the page says in numbers: verdicts, and each variant with its two references.

    Nothing is rounded: scores in percent, differences and gains in points, means over seeds.
    """
    tables = {table.name: table.rows for table in page.tables}
    return {
        "study": results.plan["study"],
        "title": page.title,
        "answer": list(page.answer),
        "score": format_score_name(results),
        "sound": format_data_summary(results.plan),
        "data": [
            {name: data.get(name) for name in ("clips", "pretraining_clips", "synthetic")}
            | {"tasks": list(data["tasks"])}
            for data in results.plan["data"]
        ],
        "alpha": read_decision_rules(results.plan).look_alpha,  # of the intervals: this look's part
        "seeds": sorted({trial.seed for trial in results.trials}),
        "trials": len(results.trials),
        "scored": sum(trial.score is not None for trial in results.trials),
        "baseline": format_variant(tuple(map(str, results.plan["baseline"].values()))),
        "verdicts": [*tables["contrasts"], *tables["learning"]],
        "notes": dict(page.notes),
        "robustness": [*tables["robustness"]],
        "variants": [_variant(row, tables["probes"], results) for row in tables["variants"]],
        "cautions": list(page.caveats),
        "giveaways": list_overlap_warnings(results),
    }


def _variant(row: Row, probes: Sequence[Row], results: Results) -> dict[str, Any]:
    name = row["variant"]
    asked = next(
        of[0].probe_key for lv, of in results.variants().items() if format_variant(lv) == name
    )
    tasks: Mapping[str, Row] = {
        of["task"]: of
        for of in probes
        if of["variant"] == name and (of["probe"], of["pooling"]) == asked
    }
    return {
        **{name: row[name] for name in ("variant", "n", "planned", "score", *ABOVE)},
        "over_mel_statistics_by": _over_by(name, [*tasks], probes),
        "tasks": {
            task: {"score": of["trained_test"], **{name: of[name] for name in ABOVE}}
            for task, of in tasks.items()
        },
    }


def _over_by(name: str, tasks: Sequence[str], probes: Sequence[Row]) -> dict[str, float]:
    """Returns what a variant scores above log-mel statistics by all that scored all `tasks`."""
    found: dict[str, dict[str, float]] = {}
    for of in probes:
        if of["variant"] == name and of["over_mel_statistics"] is not None:
            view = found.setdefault(f"{of['probe']}.{of['pooling']}", {})
            view[of["task"]] = of["over_mel_statistics"]
    return {view: fmean(of.values()) for view, of in found.items() if {*tasks} <= {*of}}


def findings_of(folder: Path) -> Findings:
    """Reads a report's `findings.json`. Raises `ValueError`, with the way out, if there is none."""
    try:
        return read_json(folder / FILE)
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no {FILE}: it holds no report, or one of an older version; "
            "write it again from its runs, `ablate report STUDY`, then `ablate publish STUDY`"
        ) from None
