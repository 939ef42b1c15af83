"""Builds and reads `findings.json`, the results of a study next to its report."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ablate.core.records.findings import (
    FINDINGS_FILE,
    DataFinding,
    DifferenceFinding,
    Findings,
    RobustnessFinding,
    TaskContrastFinding,
    TaskFinding,
    VariantFinding,
    VerdictFinding,
)
from ablate.report.pages.caveats import list_overlap_warnings
from ablate.report.pages.methods import format_data_summary
from ablate.report.pages.page import ReportPage
from ablate.report.pages.table import Row
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, format_variant
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.robustness import get_differences


def build_findings(results: Results, page: ReportPage) -> Findings:
    """Builds the findings: the numbers of a report, unrounded."""
    tables = {table.name: table.rows for table in page.tables}
    return Findings(
        study=results.plan.study,
        title=page.title,
        answer=list(page.answer),
        score=format_score_name(results),
        data_summary=format_data_summary(results.plan),
        data=[
            DataFinding(
                clips=data.clips,
                pretraining_clips=data.pretraining_clips,
                synthetic=data.synthetic,
                tasks=list(data.tasks),
            )
            for data in results.plan.data
        ],
        alpha=read_decision_rules(results.plan).look_alpha,
        seeds=sorted({trial.seed for trial in results.trials}),
        num_trials=len(results.trials),
        num_scored=sum(trial.score is not None for trial in results.trials),
        baseline=format_variant(tuple(results.plan.baseline.values())),
        verdicts=[
            VerdictFinding(**row)
            for name in ("contrasts", "learning", "untrained")
            for row in tables[name]
        ],
        notes=dict(page.notes),
        robustness=[_build_robustness(row) for row in tables["robustness"]],
        variants=[_build_variant(row, tables["probes"], results) for row in tables["variants"]],
        caveats=list(page.caveats),
        mask_warnings=list_overlap_warnings(results),
        margin=results.plan.report.equivalence_margin,
        task_contrasts=[TaskContrastFinding(**row) for row in tables["task-contrasts"]],
    )


def read_findings(folder: Path) -> Findings:
    """Reads the findings of a report.

    Raises:
        ValueError: If the folder contains no findings, or findings of another format.
    """
    try:
        return Findings.read(folder / FINDINGS_FILE)
    except FileNotFoundError:
        raise ValueError(
            f"{folder} contains no {FINDINGS_FILE}, so it is not a complete report; "
            f"{Findings.REMEDY}"
        ) from None


def _build_robustness(row: Row) -> RobustnessFinding:
    names = ("family", "factor", "level", "against", "where", "measure", "judged", "other_sign")
    differences = {
        name: DifferenceFinding(mean=mean, low=low, high=high)
        for name, (mean, low, high) in get_differences(row).items()
    }
    return RobustnessFinding(**{name: row[name] for name in names}, differences=differences)


def _build_variant(row: Row, probes: Sequence[Row], results: Results) -> VariantFinding:
    variant = row["variant"]
    key = next(
        trials[0].probe_key
        for levels, trials in results.variants().items()
        if format_variant(levels) == variant
    )
    tasks = {
        probe["task"]: TaskFinding(
            score=probe["trained_test"],
            gain=probe["gain"],
            over_mel_statistics=probe["over_mel_statistics"],
        )
        for probe in probes
        if probe["variant"] == variant and (probe["probe"], probe["pooling"]) == key
    }
    return VariantFinding(
        variant=variant,
        n=row["n"],
        planned=row["planned"],
        score=row["score"],
        gain=row["gain"],
        over_mel_statistics=row["over_mel_statistics"],
        over_mel_statistics_by=_compute_differences_to_mel(variant, [*tasks], probes),
        tasks=tasks,
        over_mel_statistics_p=row["over_mel_statistics_p"],
    )


def _compute_differences_to_mel(
    variant: str, tasks: Sequence[str], probes: Sequence[Row]
) -> dict[str, float]:
    """Computes a variant's difference to log-mel statistics by probe and pooling.

    Probes and poolings that did not score all `tasks` are left out.
    """
    by_score: dict[str, dict[str, float]] = {}
    for row in probes:
        if row["variant"] == variant and row["over_mel_statistics"] is not None:
            by_task = by_score.setdefault(f"{row['probe']}.{row['pooling']}", {})
            by_task[row["task"]] = row["over_mel_statistics"]
    return {
        score: fmean(by_task.values())
        for score, by_task in by_score.items()
        if {*tasks} <= {*by_task}
    }
