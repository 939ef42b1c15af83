"""What is a change of the code, and what only lies beside it."""

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


def said(checkout: Path, name: str) -> str:
    say = f"from ablate.core.git import {name}; print({name}())"
    done = subprocess.run(
        [sys.executable, "-c", say], cwd=checkout, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_sound_in_a_checkout_is_no_change_of_its_code(checkout: Path) -> None:
    (checkout / "my_sounds").mkdir()
    (checkout / "my_sounds" / "dog.wav").touch()
    assert said(checkout, "is_changed") == "False"
    (checkout / "tilted.py").touch()
    assert said(checkout, "is_changed") == "True"


def test_a_commit_that_touches_no_code_is_no_other_version_of_it(checkout: Path) -> None:
    before = said(checkout, "revision")
    (checkout / "study.yaml").touch()
    commit(checkout)
    assert said(checkout, "revision") == before
    (checkout / "tilted.py").touch()
    commit(checkout)
    assert said(checkout, "revision") != before
