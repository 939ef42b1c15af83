"""A report is called current only while everything that it is made of is as it was."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ablate.core.records.plan import StudyPlan
from ablate.core.records.report_state import STATE_FILE
from ablate.report import report_state
from ablate.runs.store import Folders
from ablate.study.report_writing import write_report
from tests.report.conftest import StudyBuilder

READ_FILES: list[str] = []  # opened while a report is drawn
IS_DRAWING = False


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if IS_DRAWING and event == "open" and isinstance(arguments[0], str):
        READ_FILES.append(arguments[0])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyBuilder, StudyPlan]:
    """A study whose report has been written, once for all tests."""
    global IS_DRAWING
    factors = {"masker": ["random", "block"]}
    builder = StudyBuilder(
        tmp_path_factory.mktemp("current"), factors=factors, seeds=(0, 1), num_pictures=0
    )
    plan = builder.build()
    folders = Folders(builder.runs, builder.report.parent, builder.root / "cache")
    sys.addaudithook(_note_open)
    IS_DRAWING = True
    try:
        write_report(plan, folders, Console(quiet=True))
    finally:
        IS_DRAWING = False
    return builder, plan


def is_current(builder: StudyBuilder, plan: StudyPlan) -> bool:
    state = report_state.find_current_state(plan, builder.runs, builder.report)
    return state is not None


def list_files(builder: StudyBuilder) -> Iterator[Path]:
    """Lists the files whose change may change the report, and those of the report itself."""
    yield from (path for path in sorted(builder.runs.glob("*[0-9a-f]/**/*")) if path.is_file())
    for name in ("index.html", "report.md", "findings.json", "scores.csv", STATE_FILE):
        yield builder.report / name
    yield from sorted(builder.report.glob("*/*.*"))


@given(data=st.data())
def test_a_report_is_current_until_a_byte_of_its_runs_or_of_itself_changes(
    drawn: tuple[StudyBuilder, StudyPlan], data: st.DataObject
) -> None:
    builder, plan = drawn
    path = data.draw(st.sampled_from([*list_files(builder)]))
    content = path.read_bytes()
    change = data.draw(st.sampled_from(("flip", "cut", "append", "delete")))
    at = data.draw(st.integers(0, len(content) - 1))
    if change == "delete":
        path.unlink()
    else:
        flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        changed = {"flip": flipped, "cut": content[:at], "append": content + b" "}[change]
        path.write_bytes(changed)
    try:
        assert not is_current(builder, plan)
    finally:
        path.write_bytes(content)
    assert is_current(builder, plan)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "another"},
        {"seeds": (0,)},
        {"text": "study: masking\n"},
        {"added": ("block",)},
    ],
)
def test_a_report_is_not_current_for_another_plan(
    drawn: tuple[StudyBuilder, StudyPlan], change: dict[str, Any]
) -> None:
    builder, plan = drawn
    assert not is_current(builder, replace(plan, **change))


def test_a_new_file_of_a_run_makes_the_report_stale(
    drawn: tuple[StudyBuilder, StudyPlan],
) -> None:
    builder, plan = drawn
    new = builder.runs / plan.trials[0].fingerprint / "probes" / "speech" / "new.json"
    new.write_text("{}")
    try:
        assert not is_current(builder, plan)
    finally:
        new.unlink()


def test_other_libraries_or_code_make_the_report_stale(
    drawn: tuple[StudyBuilder, StudyPlan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builder, plan = drawn
    with monkeypatch.context() as patched:
        patched.setattr(report_state, "version", lambda name: "0")
        assert not is_current(builder, plan)
    with monkeypatch.context() as patched:
        patched.setattr(report_state, "ROOT", tmp_path)
        assert not is_current(builder, plan)
    assert is_current(builder, plan)


def test_drawing_reads_no_file_of_a_run_whose_change_is_not_noticed(
    drawn: tuple[StudyBuilder, StudyPlan],
) -> None:
    builder, _ = drawn
    own = [Path(name) for name in READ_FILES if name.startswith(str(builder.runs))]
    read = {path.relative_to(builder.runs) for path in own}
    assert {path.name for path in read} >= {"run.json", "env.json", "metrics.jsonl"}
    for path in read:
        below = path.relative_to(path.parts[0])
        is_log_of_looks = path.parts[0] == "looks"  # part of the plan
        assert is_log_of_looks or below.parts[0] == "probes" or path.suffix in report_state.READ


def test_every_file_of_a_report_is_verified(drawn: tuple[StudyBuilder, StudyPlan]) -> None:
    folder = drawn[0].report
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(report_state.list_report_files(folder)) == written - {STATE_FILE}
