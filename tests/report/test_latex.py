"""Tables are valid LaTeX for any labels, compiled if pdflatex is installed."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.report.pages.latex import PREAMBLE, cut_caption, write_latex_table
from ablate.report.pages.table import Column, Table, text_cell
from ablate.report.report import write_report
from tests.report.conftest import StudyBuilder
from tests.report.drawn_clips import write_drawn_clips

NASTY = ["100 % & more_of #1", r"$x$ {y} ~^ \z\\", "[red] * <a|b>", "*star", "-- \"q\" 'r' `s`"]
ESCAPED = r"\\(?:[%&#$_{}]|\\\*?|[A-Za-z]+\*?)"  # a sign, a row break, or a command
HEAD = (
    r"\\begin\{tabular\}\[b\]\{@\{\}.@\{\}\}(.*?)\\end\{tabular\}"  # column heads of several lines
)


def list_problems(text: str) -> list[str]:
    """Lists problems for LaTeX: open groups, rows of unequal length, unescaped characters."""
    problems = []
    stripped = re.sub(r"\$[-]\$|\$\\pm\$", "", text)
    bare = re.sub(ESCAPED, "", stripped)
    if bare.count("{") != bare.count("}"):
        problems.append("braces do not match")
    opened = re.findall(r"\\begin\{([\w*]+)\}", text)
    if sorted(opened) != sorted(re.findall(r"\\end\{([\w*]+)\}", text)):
        problems.append("environments do not match")
    problems += [f"a bare {sign}" for sign in "%#$_^~" if sign in bare]
    panels = re.findall(
        r"\\begin\{tabularx?\}(?:\{\\linewidth\})?\{([^\n]*)\}\n\\toprule\n(.*?)\\bottomrule",
        re.sub(HEAD, lambda head: head[1].replace("\\\\", ""), text, flags=re.DOTALL),
        re.DOTALL,
    )
    assert panels
    for alignment, body in panels:
        columns = re.sub(r">\{[^}]*\}", "", alignment)
        for row in filter(None, body.split("\\\\")):
            cells = len(re.findall(r"(?<!\\)&", row)) + 1
            if row.strip() and "rule" not in row and cells != len(columns):
                problems.append(f"{cells} cells of {len(columns)}: {row}")
            if re.match(r"\s*[\[*]", row):
                problems.append(f"a row that begins like an argument: {row}")
    return problems


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    builder = StudyBuilder(tmp_path_factory.mktemp("study"))
    builder.factors = {"mask_er & %": NASTY, "encoder": ["vit", "a_b"]}
    builder.random_init_factors = ()
    plan = replace(builder.build(), title="100 %")
    write_drawn_clips(builder.runs, lambda draw: draw.random(60) < 0.7)
    write_report(plan, builder.runs, builder.report)
    return sorted(builder.report.glob("tables/*.tex"))


def test_every_table_of_a_report_is_valid_latex(tables: list[Path]) -> None:
    assert len(tables) > 6
    assert [
        (path.name, problems) for path in tables if (problems := list_problems(path.read_text()))
    ] == []
    contrasts = next(path for path in tables if path.name == "contrasts.tex")
    assert r"100 \% \& more\_of \#1" in contrasts.read_text()
    assert {"main.tex", "main-wide.tex"} < {path.name for path in tables}


def test_a_note_explains_only_brief_columns() -> None:
    brief = Column(head="p", format=text_cell("a"))
    hidden = Column(head="seed r", format=text_cell("a"), brief=False)
    caption = "Points, e.g. of accuracy. P: corrected. Seed r: a correlation. Intervals are not."
    table = Table(name="t", title="T", caption=caption, columns=(brief, hidden), rows=({"a": "1"},))
    assert cut_caption(table) == "Points, e.g. of accuracy. P: corrected. Intervals are not."
    text = write_latex_table(table)
    assert r"\label{tab:t}" in text
    assert "correlation" not in text


def test_two_columns_may_have_the_same_head() -> None:
    columns = tuple(Column(head="encoder", format=text_cell(name), text=True) for name in "ab")
    table = Table(name="t", title="T", caption="", columns=columns, rows=({"a": "1", "b": "2"},))
    assert list_problems(write_latex_table(table)) == []
    assert "encoder & encoder" in write_latex_table(table)


@pytest.mark.parametrize("head", NASTY)
def test_column_heads_are_escaped(head: str) -> None:
    columns = (Column(head=head, format=text_cell("a")), Column(head="b", format=text_cell("b")))
    table = Table(name="t", title=head, caption=head, columns=columns, rows=({"a": 1, "b": 2},))
    assert list_problems(write_latex_table(table)) == []


@pytest.mark.parametrize(
    "broken", ["a & b & c \\\\\n", "[x] & b \\\\\n", "a_b & c \\\\\n", "{a & c \\\\\n"]
)
def test_invalid_latex_is_detected(broken: str) -> None:
    text = "\\begin{tabular}{lr}\n\\toprule\n"
    assert list_problems(f"{text}x & y \\\\\n\\bottomrule\n\\end{{tabular}}\n") == []
    assert list_problems(f"{text}{broken}\\bottomrule\n\\end{{tabular}}\n")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_every_table_compiles_and_fits_its_page(tables: list[Path], tmp_path: Path) -> None:
    inputs = "\n".join(f"\\input{{{path}}}\\clearpage" for path in tables)
    for style in ("twocolumn", "onecolumn"):
        (tmp_path / f"{style}.tex").write_text(
            f"\\documentclass[10pt,{style}]{{article}}{PREAMBLE}\\hbadness=10000\n"
            f"\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
        )
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{style}.tex"]
        unwrapped = {**os.environ, "max_print_line": "10000"}  # else names of files are broken
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=unwrapped
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull" not in done.stdout, done.stdout[-6000:]
        assert "too large for page" not in done.stdout
