"""The page of all reports, and that of two reports side by side."""

from dataclasses import replace
from pathlib import Path

from ablate.report.pages.comparison import build_contrast_comparison, write_comparison_page
from ablate.report.pages.findings import read_findings
from ablate.report.pages.report_list import write_report_list
from ablate.report.report import write_report
from ablate.report.stats.study_diff import build_comparison_table
from tests.report.conftest import StudyBuilder


def test_two_reports_are_listed_and_compared(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    results = []
    for name, lift in (("mine", 0.0), ("mine-try", 9.0)):
        factors = {"masker": ["random", "block"]}
        builder = StudyBuilder(tmp_path / name, factors=factors, noise=0.1 + lift / 100)
        builder.levels_score = lambda levels, lift=lift: 40 + lift * (levels["masker"] == "block")
        plan = replace(builder.build(), study=name, title=f"Is {name} <better>?")
        write_report(plan, builder.runs, reports / name)
        results.append(replace(builder.results(), plan=plan))
    page = write_report_list(reports).read_text()
    for name in ("mine", "mine-try"):
        assert f'href="{name}/index.html">Is {name} &lt;better&gt;?' in page
    assert "1 better" in page
    (reports / "mine" / "findings.json").write_text('{"format": 0}')
    assert "ablate report mine<" in write_report_list(reports).read_text()

    findings = [replace(read_findings(reports / "mine-try"), study=name) for name in ("a", "b")]
    other = [replace(verdict, verdict="undecided: 3") for verdict in findings[1].verdicts]
    findings[1] = replace(findings[1], verdicts=other[1:])
    table = build_contrast_comparison(*findings)
    assert {row["same"] for row in table.rows} == {"no", "only in one"}
    moved = build_comparison_table(*results)
    write_comparison_page(tmp_path / "both.html", *findings, moved)
    assert ">rose<" in (tmp_path / "both.html").read_text()
