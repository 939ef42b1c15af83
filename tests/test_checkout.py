"""What is a change of the code, and what only lies beside it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAY = "from ablate.checkout import is_changed; print(is_changed())"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for package in ("ablate", "maskers"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    name = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "."], [*name, "commit", "-q", "-m", "All of it"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def said(checkout: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SAY], cwd=checkout, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_sound_in_a_checkout_is_no_change_of_its_code(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    (checkout / "my_sounds").mkdir()
    (checkout / "my_sounds" / "dog.wav").touch()
    assert said(checkout) == "False"
    (checkout / "tilted.py").touch()
    assert said(checkout) == "True"
