"""A report is complete, correct, self-contained and reproducible byte by byte."""

import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import rich.console

from ablate.core.io import read_json
from ablate.core.records.plan import MaskGallery, StudyPlan
from ablate.report.pages.findings import FINDINGS_FILE
from ablate.report.report import ReportSummary, write_report
from tests.report.conftest import StudyBuilder

VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}


class Nesting(HTMLParser):
    """Checks the nesting of tags, and collects URLs and identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.identifiers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: Path) -> Nesting:
    nesting = Nesting()
    nesting.feed(page.read_text())
    nesting.close()
    return nesting


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StudyBuilder, StudyPlan, ReportSummary]:
    """A report with a failed, a collapsed and a missing trial; tests must not change it."""
    builder = StudyBuilder(tmp_path_factory.mktemp("study"), num_pictures=5)
    plan = builder.build()
    builder.fail(builder.fingerprint(2, masker="block", patchifier="strips"), "oom: <12> & more")
    builder.edit(builder.fingerprint(1, masker="block", patchifier="squares"), collapsed=True)
    shutil.rmtree(builder.runs / builder.fingerprint(0, masker="curriculum", patchifier="strips"))
    return builder, plan, write_report(plan, builder.runs, builder.report)


Written = tuple[StudyBuilder, StudyPlan, ReportSummary]


def with_gallery_in(plan: StudyPlan, folder: str) -> StudyPlan:
    assert plan.gallery is not None
    return replace(plan, gallery=replace(plan.gallery, folder=folder))


def test_the_report_is_complete(written: Written) -> None:
    files = set(contents(written[0].report))
    figures = {"contrasts", "variants", "interactions", "learning", "cost"}
    tables = {"variants", "contrasts", "learning", "tasks", "shares", "spread", "cost", "health"}
    tables |= {"masks", "probes", "failures", "robustness"}
    assert {"index.html", "report.md", "scores.csv"} <= files
    assert {f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png", "pdf")} <= files
    assert {f"tables/{name}.{kind}" for name in tables for kind in ("csv", "tex")} <= files


def test_the_same_runs_give_the_same_bytes(written: Written) -> None:
    builder, plan, _ = written
    again = builder.root / "reports" / "again"  # a sibling, so that links are as long
    shutil.copytree(builder.report / "gallery", again / "gallery")
    write_report(with_gallery_in(plan, "gallery"), builder.runs, again)
    assert contents(again) == contents(builder.report)


def test_a_report_can_be_deleted_and_written_again(builder: StudyBuilder) -> None:
    plan = builder.build()
    write_report(plan, builder.runs, builder.report)
    before = contents(builder.report)
    shutil.rmtree(builder.report)
    write_report(plan, builder.runs, builder.report)
    assert contents(builder.report) == before


def test_the_answer_comes_first(written: Written) -> None:
    lines = written[0].report.joinpath("report.md").read_text().splitlines()
    assert lines[0].startswith("# Does the shape of the mask matter")
    assert lines[2].startswith("6 encoders were trained without labels")
    assert lines[4].startswith("**masker: curriculum and random are equivalent by knn")
    assert lines[6].startswith("**patchifier: ")
    page = written[2].page.read_text()
    parts = ("<h1>", 'class="lead"', 'class="answer"', "<h2>", "<svg", "<table")
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def test_a_factor_may_have_the_name_of_a_column(builder: StudyBuilder) -> None:
    builder.factors, builder.random_init_factors = {"encoder": ["vit", "seconds"]}, ("encoder",)
    assert parsed(write_report(builder.build(), builder.runs, builder.report).page).open == []


def test_the_page_needs_no_network(written: Written) -> None:
    page = written[2].page
    addresses = parsed(page).addresses
    assert addresses
    allowed = ("#", "data:image/png;base64,", "data:text/", "../index.html")
    assert all(address.startswith(allowed) for address in addresses)
    text = page.read_text()
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", text)
    assert "url(#" in text  # clip paths are found within the page
    assert "@import" not in text


def test_the_page_is_well_formed(written: Written) -> None:
    nesting = parsed(written[2].page)
    assert nesting.open == []
    links = {address[1:] for address in nesting.addresses if address.startswith("#")}
    assert links <= set(nesting.identifiers)


def test_identifiers_are_unique_across_figures(written: Written) -> None:
    identifiers = parsed(written[2].page).identifiers
    assert len(identifiers) == len(set(identifiers))


def test_the_page_escapes_text_of_the_study(written: Written) -> None:
    text = written[2].page.read_text()
    assert "oom: &lt;12&gt; &amp; more" in text
    assert "a &lt; b &amp; c" in text
    assert "<b>.wav" not in text


def test_failed_missing_and_collapsed_trials_are_counted_and_listed(written: Written) -> None:
    summary = written[2]
    assert summary.num_failed == 1
    text = written[0].report.joinpath("report.md").read_text()
    assert "16 of 18 trials scored" in text
    assert "oom: <12> & more" in text
    assert "not run yet" in text
    assert "1 of 18 trials collapsed" in text


def test_the_gallery_has_one_row_per_masker_and_empty_cells(written: Written) -> None:
    text = written[2].page.read_text()
    assert text.count('<th class="row" scope="row">') == 3
    assert text.count("data:image/png;base64,") == 5  # one of the six cells is empty
    markdown = written[0].report.joinpath("report.md").read_text()
    assert "](gallery/random--squares.png)" in markdown
    page = written[2].page.read_text()
    assert "(progress 0, 0.5 and 1)" in markdown
    assert "(progress 0, 0.5 and 1)" in page


def test_the_gallery_of_a_moved_report_is_used(written: Written, tmp_path: Path) -> None:
    builder, plan, _ = written
    moved = tmp_path / "moved"
    shutil.copytree(builder.report, moved)
    moved_plan = with_gallery_in(plan, "gallery")
    markdown = write_report(moved_plan, builder.runs, moved).page.with_name("report.md").read_text()
    assert "](gallery/random--squares.png)" in markdown


def test_without_a_gallery_its_section_is_missing(builder: StudyBuilder) -> None:
    plan = builder.build()
    for nothing in (None, MaskGallery(title="", folder="gone", pictures=())):
        plan = replace(plan, gallery=nothing)
        assert (
            'id="gallery"' not in write_report(plan, builder.runs, builder.report).page.read_text()
        )


def test_the_protocol_has_design_statistics_data_and_hardware(written: Written) -> None:
    text = written[0].report.joinpath("report.md").read_text()
    for expected in (
        "unit of replication is the pre-training seed",
        "Student-t",
        "Holm-corrected within each of 4 families: pooled contrasts, contrasts within a "
        "combination, learning contrasts, contrasts with the strongest baseline without training; "
        "one within a combination",
        "within 2 points",
        "k 10",
        "Hardware: 2 cores, x86_64, Linux-6.1.",
        "cpu fp32",
        "torch 2.13.0+cpu",
        "0123456789abcdef",
        "9f86d081",
        "3600 clips",
        "1 skipped",
        "speech (10 classes, 600 train, 200 valid, 400 test)",
    ):
        assert expected in text, expected


def test_the_summary_names_the_data(written: Written) -> None:
    expected = "trials scored by knn.concat_freq, on 3,600 clips of speech, music, environment."
    assert expected in written[2].page.read_text()
    assert expected in written[0].report.joinpath("report.md").read_text().split("## ")[0]
    assert read_json(written[0].report / FINDINGS_FILE)["data_summary"] in expected


def test_scores_are_written_as_parquet_if_pyarrow_is_installed(written: Written) -> None:
    report = written[0].report
    if find_spec("pyarrow"):
        frame = pd.read_parquet(report / "scores.parquet")
        assert frame.to_csv(index=False) == (report / "scores.csv").read_text()
    else:
        assert "scores.parquet" not in (report / "report.md").read_text()


def test_unequal_amounts_of_visible_audio_are_a_caveat(written: Written) -> None:
    assert any("differ in their realised context" in line for line in written[2].caveats)


@pytest.mark.parametrize("factors", [{"mask er": ["a<b", "c|d"]}, {"[red]": ["$", "x$_{$"]}, {}])
def test_a_study_of_one_factor_or_none_has_a_report(
    builder: StudyBuilder, factors: dict[str, list[str]]
) -> None:
    builder.factors, builder.random_init_factors = factors, ()
    summary = write_report(builder.build(), builder.runs, builder.report)
    assert parsed(summary.page).open == []
    count = len(builder.seeds) * max(1, *map(len, factors.values()), 1)
    assert f"{count} of {count} trials scored" in summary.page.read_text()
    variants = max(1, *map(len, factors.values()), 1)  # each against a baseline without training
    assert len(summary.sentences) == len(factors) + 1 + variants
    console = rich.console.Console(file=io.StringIO(), width=120, record=True)
    summary.render(console)
    assert all(name in console.export_text(clear=False) for name in factors)


def test_a_study_that_has_not_run_has_a_report(builder: StudyBuilder) -> None:
    summary = write_report(builder.build(), builder.root / "nowhere", builder.report)
    assert parsed(summary.page).open == []
    assert summary.num_failed == 0
    assert "0 of 18 trials scored" in summary.page.read_text()
    assert {sentence.word for sentence in summary.sentences} == {"undecided"}


def test_no_temporary_file_is_left(written: Written) -> None:
    assert not [name for name in contents(written[0].report) if "partial" in name]


def test_the_terminal_summary_has_verdicts_failures_and_the_page(written: Written) -> None:
    console = rich.console.Console(file=io.StringIO(), width=500, record=True)
    written[2].render(console)
    text = console.export_text()
    assert "Contrasts" in text
    assert "oom: <12> & more" in text
    assert str(written[2].page) in text
    assert all(str(sentence) in text for sentence in written[2].sentences)
    assert all(caveat in text for caveat in written[2].caveats)


def test_every_label_of_the_figures_is_inside_the_picture(written: Written) -> None:
    for name in ("contrasts", "variants", "interactions", "learning", "cost"):
        svg = written[0].report.joinpath(f"figures/{name}.svg").read_text()
        view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert view
        width, height = float(view[1]), float(view[2])
        texts = re.findall(
            r'<text style="font-size: ([\d.]+)px;([^"]*)" x="([-\d.]+)" y="([-\d.]+)"'
            r"(?![^>]*rotate\(-90)[^>]*>([^<]*)",
            svg,
        )
        assert texts
        for size, style, x, y, text in texts:
            length = 0.45 * float(size) * len(text)  # a little less than the true width
            start = float(x) - length * (("end" in style) + 0.5 * ("middle" in style))
            assert start >= 0, text
            assert start + length <= width, text
            assert 0 <= float(y) <= height, text
