"""The pages of the documentation agree with the code, and the site builds."""

import dataclasses
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import maskers
from ablate.config import loader
from ablate.config.keys import KEYS, SETTINGS
from ablate.core.part_classes import import_class
from tests.docs import gallery
from tests.package_parts import find_typed_settings

ROOT = Path(__file__).parents[2]
QUICK = ("MultiBlock", "Random", "Spans")  # maskers that are measured again
PAGES = {page.relative_to(ROOT).as_posix(): page.read_text() for page in ROOT.glob("docs/**/*.md")}
YAML_BLOCKS = [
    (page, block)
    for page, text in PAGES.items()
    if page != "docs/maskers.md"
    for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
]
EXTRA_KEYS = {"type", "match", "seconds"}  # settings have them beside the fields of their class


@pytest.mark.parametrize(("page", "block"), YAML_BLOCKS)
def test_the_settings_in_a_page_exist(page: str, block: str) -> None:
    settings = loader.parse_settings(block, page)
    assert settings.keys() <= {*KEYS, *SETTINGS}
    for part in find_typed_settings(settings):
        if not part["type"].startswith("my_lab."):
            fields = {field.name for field in dataclasses.fields(import_class(part["type"]))}
            assert part.keys() - EXTRA_KEYS <= fields, part["type"]


def test_the_studies_in_the_pages_are_valid(tmp_path: Path) -> None:
    studies = [(page, block) for page, block in YAML_BLOCKS if re.search(r"(?m)^study: ", block)]
    assert len(studies) >= 3
    for page, block in studies:
        file = tmp_path / f"{Path(page).stem}.yaml"
        file.write_text(block)
        assert loader.load(file).name


def test_every_recipe_is_compared_with_its_original() -> None:
    headings = re.findall(r"(?m)^### (.+)$", PAGES["docs/originals.md"])
    compared = [name for heading in headings for name in heading.split(", ")]
    recipes = (ROOT / "studies" / "recipes").glob("**/*.yaml")
    assert sorted(compared) == sorted(recipe.stem for recipe in recipes if recipe.stem != "tiny")


def test_the_gallery_shows_every_masker_as_it_is() -> None:
    rows = gallery.read_table()
    assert list(rows) == maskers.__all__
    assert gallery.PAGE.read_text() == gallery.format_gallery(rows), (
        "stale: run `python -m tests.docs.gallery`"
    )
    assert {file.stem for file in gallery.PICTURES.iterdir()} == set(maskers.__all__)


def test_the_statistics_of_the_gallery_are_those_of_the_maskers(tmp_path: Path) -> None:
    rows, _ = gallery.measure(QUICK, tmp_path)
    table = gallery.read_table()
    assert rows == [table[name] for name in QUICK]


@pytest.mark.skipif(find_spec("material") is None, reason="needs mkdocs-material: .[docs]")
def test_the_site_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(tmp_path): page.read_text() for page in tmp_path.rglob("*.html")}
    assert len(pages) > 20
    loaded = (
        r"<(?:script|img|iframe|link rel=.(?:stylesheet|icon))[^>]*?(?:src|href)=\"?(http[^\" >]*)"
    )
    assert [address for text in pages.values() for address in re.findall(loaded, text)] == []
    assert "ablate status" in pages[Path("commands.html")]
    assert "ablate.model.vit.ViT" in pages[Path("settings.html")]
    assert "Progress is printed to stderr" in pages[Path("api.html")]
