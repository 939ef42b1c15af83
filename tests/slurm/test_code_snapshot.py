"""Tests that jobs import the user's own code as it was when they were submitted."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ablate.core import own_code
from ablate.slurm.code_snapshot import copy_code
from ablate.slurm.commands import SlurmError

SOURCES = {  # each is imported by another one, or is a part's own module
    "work/my_lab/parts.py": "from my_lab import inner",  # no __init__.py: a namespace package
    "work/my_lab/inner.py": "def use():\n    import lazy",
    "work/lazy.py": "import importlib\nimportlib.import_module('named')",
    "work/named.py": "try:\n    import not_installed\nexcept ImportError:\n    pass",
    "work/single.py": "import numpy, json",
    "work/unused.py": "",
    "elsewhere/far/__init__.py": "from . import table",
    "elsewhere/far/table.py": "",
    "elsewhere/far/table.csv": "1,2",
}
PARTS = ("my_lab.parts.Part", "single.Part", "far.Part", "sklearn.Part")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, and another one on Python's path, as an editable install adds."""
    for name, source in SOURCES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    return tmp_path


def copy_parts(folder: Path) -> Path:
    return copy_code([{"x": [{"type": part}]} for part in PARTS], folder / "code")


def test_jobs_import_own_modules_as_they_were_at_submission(folder: Path) -> None:
    code = copy_parts(folder)
    for name in SOURCES:
        (folder / name).write_text("edited after submission")
    program = (
        "import my_lab.parts, my_lab.inner, single, far; my_lab.inner.use(); import ablate;"
        "print(ablate.__file__)"
    )
    environ = {**os.environ, "PYTHONPATH": str(code)}
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(
        command, env=environ, cwd=folder / "work", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(code))


def test_a_snapshot_holds_the_modules_that_own_parts_import_and_no_others(folder: Path) -> None:
    copied = {path.name for path in copy_parts(folder).iterdir()}
    own = {"my_lab", "lazy.py", "named.py", "single.py", "far"}
    assert copied == {"ablate", "commit.json", *own}


def test_a_package_keeps_the_files_that_it_reads(folder: Path) -> None:
    assert (copy_parts(folder) / "far" / "table.csv").read_text() == "1,2"


def test_code_in_an_archive_is_rejected_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("packed.py", "")
    monkeypatch.syspath_prepend(str(archive))
    with pytest.raises(SlurmError, match=r"`packed` is in .*packed\.zip.*install it"):
        copy_code([{"type": "packed.Part"}], tmp_path / "code")


def test_a_package_that_holds_a_corpus_is_rejected_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_code, "MAX_FILES", 1)
    with pytest.raises(SlurmError, match=r"package `far` in .* move what is not code"):
        copy_code([{"type": "far.Part"}], folder / "code")
