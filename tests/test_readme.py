"""What the README shows is true."""

import re
from pathlib import Path

import pytest

from ablate import config
from ablate.reporting.publishing import BEGIN, END, section
from ablate.testing import check_masker

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str, holding: str) -> str:
    """The README's code block in a language that holds some words."""
    found = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    [text] = [text for text in found if holding in text]
    return text


def test_the_masker_of_the_readme_keeps_the_promises():
    names: dict[str, type] = {}
    exec(compile(block("python", "class Tilted"), "README.md", "exec"), names)
    check_masker(names["Tilted"]())
    check_masker(names["Tilted"](ratio=0.3, tilt=0.2))


def test_the_study_of_the_readme_is_one(tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "studies" / "recipes")
    file = tmp_path / "question.yaml"
    file.write_text(block("yaml", "study: my_question"))
    study = config.load(file)
    assert study.name == "my_question"
    assert set(study.factors) == {"masker", "optimizer.rate"}


@pytest.mark.parametrize("path", re.findall(r"\]\(([\w/.]+)\)", README))
def test_every_link_leads_somewhere(path):
    assert (ROOT / path).exists()


def test_the_results_are_those_that_the_kept_reports_hold():
    kept = sorted(path for path in (ROOT / "studies" / "results").iterdir() if path.is_dir())
    written = README[README.index(BEGIN) : README.index(END) + len(END)]
    assert written == section(kept, ROOT), "stale: run `ablate publish`"


def test_the_gate_runs_the_command_that_the_readme_shows():
    gate = (ROOT / ".ci" / "run").read_text()
    assert "<!-- tests -->" in gate
    assert "pytest" in block("sh", "ruff check")
