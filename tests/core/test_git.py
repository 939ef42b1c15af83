"""Only files of code decide the commit and whether a checkout has uncommitted changes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for package in ("ablate", "maskers"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def commit(checkout: Path) -> None:
    for command in (["add", "."], [*NOBODY, "commit", "-q", "-m", "All of it"]):
        subprocess.run(["git", *command], cwd=checkout, check=True)


def call(checkout: Path, name: str) -> str:
    """Returns what a function of `ablate.core.git` returns in the checkout, as text."""
    code = f"from ablate.core.git import {name}; print({name}())"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_audio_in_a_checkout_is_not_a_change_of_its_code(checkout: Path) -> None:
    (checkout / "my_sounds").mkdir()
    (checkout / "my_sounds" / "dog.wav").touch()
    assert call(checkout, "is_dirty") == "False"
    (checkout / "tilted.py").touch()
    assert call(checkout, "is_dirty") == "True"


def test_a_commit_without_code_is_not_another_version_of_it(checkout: Path) -> None:
    before = call(checkout, "get_commit")
    (checkout / "study.yaml").touch()
    commit(checkout)
    assert call(checkout, "get_commit") == before
    (checkout / "tilted.py").touch()
    commit(checkout)
    assert call(checkout, "get_commit") != before
