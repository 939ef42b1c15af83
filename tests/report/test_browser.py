"""A browser shows the page without errors and loads no other file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.report.report import write_report
from tests.report.conftest import StudyBuilder

NASTY = "<script>document.title = 'owned'; console.error('ran')</script>"
BROKEN = "images => images.filter(image => !image.complete || image.naturalWidth === 0).length"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with harmful labels, and with a failed trial whose reason is harmful."""
    builder = StudyBuilder(tmp_path_factory.mktemp("study"), num_pictures=4)
    builder.factors = {"masker": [NASTY, "a & b </svg>"], "patchifier": ["100 %", '"x" onload="y"']}
    plan = replace(builder.build(), title=f"Is {NASTY} harmless?", text=f"study: x # </pre>{NASTY}")
    builder.fail(builder.fingerprint(0, masker=NASTY, patchifier="100 %"), f"nan: {NASTY}")
    return write_report(plan, builder.runs, builder.report).page


def test_the_page_is_complete_logs_nothing_and_loads_no_other_file(
    browser: Any, page: Path
) -> None:
    messages: list[str] = []
    requests: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    assert messages == []
    assert [address for address in requests if not address.startswith("data:")] == [page.as_uri()]
    assert tab.locator("img").count() == 4
    assert tab.locator("img").evaluate_all(BROKEN) == 0
    assert tab.title() == f"Is {NASTY} harmless?"
    assert tab.locator("script").count() == 0
    for figure in tab.locator(".picture svg.wide").all():
        box = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 100
    assert NASTY in tab.locator("#table-failures").inner_text()


CUT = """tables => tables.filter(table => table.scrollWidth > table.clientWidth + 1)
    .map(table => table.parentElement.id)"""
SMALLEST_TEXT = """figures => Math.min(...figures.filter(figure => figure.clientWidth)
    .flatMap(figure => [...figure.querySelectorAll('text')].map(
        text => parseFloat(getComputedStyle(text).fontSize) * figure.clientWidth
            / figure.viewBox.baseVal.width)))"""


@pytest.mark.parametrize("width", [400, 1400])
def test_tables_and_figures_fit_a_window(browser: Any, page: Path, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".cards").evaluate_all(CUT) == []
    assert tab.locator(".picture svg").evaluate_all(SMALLEST_TEXT) >= 9  # pixels


def test_all_columns_of_a_table_can_be_unfolded(browser: Any, page: Path) -> None:
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(page.as_uri())
    column = tab.locator("#table-contrasts th", has_text="detectable")
    assert not column.is_visible()
    tab.get_by_label("all columns").first.check()
    assert column.is_visible()


def test_tables_can_be_downloaded_and_links_within_the_page_lead_somewhere(
    browser: Any, page: Path
) -> None:
    tab = browser.new_page()
    tab.goto(page.as_uri())
    with tab.expect_download() as download:
        tab.locator("#table-contrasts").get_by_text("CSV").click()
    expected = (page.parent / "tables" / "contrasts.csv").read_bytes()
    assert Path(download.value.path()).read_bytes() == expected
    links = tab.locator("a[href^='#']").evaluate_all("links => links.map(a => a.hash.slice(1))")
    places = tab.locator("[id]").evaluate_all("all => all.map(e => e.id)")
    assert {"verdicts", "verdict-1", "table-probes", "glossary"} <= {*links}
    assert {*links} <= {*places}
