"""What the README and the pages beside it show is true."""

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import maskers
from ablate.cli.main import app
from ablate.config import loader
from ablate.config import recipes as config_recipes
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.report.pages.index import listing
from ablate.report.pages.publish import BEGIN, END, PAGE, section
from ablate.study.prepare import prepare
from ablate.testing import check_masker

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text()
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}


def block(language: str, holding: str, page: str = "README.md") -> str:
    """A page's code block in a language that holds some words."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)
    [text] = [text for text in found if holding in text]
    return text


def linked() -> Iterator[tuple[str, str]]:
    for page, text in PAGES.items():
        yield from ((page, link) for link in re.findall(r"\]\(([\w/.#-]+)\)", text))


def test_the_masker_of_the_readme_keeps_the_promises():
    names: dict[str, type] = {}
    exec(compile(block("python", "class Tilted"), "README.md", "exec"), names)
    check_masker(names["Tilted"]())
    check_masker(names["Tilted"](ratio=0.3, tilt=0.2))


@pytest.mark.parametrize(
    ("page", "holding"), [("README.md", "study: mine"), ("docs/studies.md", "study: my_question")]
)
def test_the_studies_of_the_pages_are_some(tmp_path, page, holding):
    file = tmp_path / "question.yaml"
    file.write_text(block("yaml", holding, page))
    study = loader.load(file, [f"data.{part}_per_class=2" for part in ("clips", "valid", "test")])
    assert study.name == holding.removeprefix("study: ")
    assert set(study.factors) == {"masker", "optimizer.rate"}
    with Pool(tmp_path / "cache", size=1) as pool:
        planned = prepare(study, pool, create_console())
    assert planned.plan["warnings"] == []
    assert all(trial.plan["context"] == pytest.approx(0.375) for trial in planned.trials)


def test_the_sweep_of_the_page_is_one(tmp_path):
    text = (ROOT / "studies" / "sweep.yaml").read_text()
    shown = block("yaml", "sampler: tpe", "docs/sweeps.md")
    file = tmp_path / "sweep.yaml"
    file.write_text(text[: text.index("sweep:\n")] + shown + text[text.index("seeds: 3") :])
    sweep = loader.load(file).sweep
    assert sweep is not None
    assert (sweep.pruner, sweep.seeds) == ("median", (1000, 1001))


@pytest.mark.parametrize("page", PAGES)
def test_every_part_that_a_page_names_is_there(page):
    for path in re.findall(r"\b(?:ablate|maskers)(?:\.\w+)+", PAGES[page]):
        pkgutil.resolve_name(path)


def test_what_is_counted_on_the_pages_is_as_many():
    recipes = [name for name in config_recipes.list_recipes() if name.count("/") == 1]
    counted = {"maskers": len(maskers.__all__), "published systems": len(recipes)}
    numbers = {"sixteen": "16"}
    text = " ".join(PAGES.values())
    for words, count in counted.items():
        told = re.findall(rf"(\w+) {words}\b", text)
        assert {numbers.get(word.lower(), word) for word in told} & {str(count)}, words
        assert not [word for word in told if word.isdigit() and word != str(count)]


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_and_option_that_a_page_names_is_there(page):
    verbs = typer.main.get_command(app).commands
    lines = re.findall(
        r"(?:`|^|bin/)ablate ([a-z][a-z-]*)([^`\n]*)", PAGES[page], flags=re.MULTILINE
    )
    for verb, rest in lines:
        assert verb in verbs, f"ablate {verb}"
        known = {option for one in verbs[verb].params for option in one.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.split("#")[0])) <= known, verb


@pytest.mark.parametrize(("page", "link"), [*linked()])
def test_every_link_leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path
    assert target.exists()
    if anchor:
        heads = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        assert anchor in {head.lower().replace(" ", "-") for head in heads}


def test_the_results_are_those_that_the_kept_reports_hold():
    results = ROOT / "studies" / "results"
    kept = sorted(path for path in results.iterdir() if path.is_dir())
    written = README[README.index(BEGIN) : README.index(END) + len(END)]
    assert written == section(ROOT / "README.md", results, kept), "stale: run `ablate publish`"
    assert (results / PAGE).read_text() == listing(kept, results), "stale: run `ablate publish`"


def test_the_gate_runs_the_command_that_the_readme_shows():
    gate = (ROOT / ".ci" / "run").read_text()
    assert "<!-- tests -->" in gate
    assert "pytest" in block("sh", "ruff check")
    assert block("sh", "ruff check", "CONTRIBUTING.md") == block("sh", "ruff check")
