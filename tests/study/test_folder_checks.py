"""Folders whose paths leave no room for the names of files are refused before a study starts."""

import os
from pathlib import Path

import pytest

from ablate.study import run as study
from ablate.study.folder_checks import RESERVED_BYTES
from tests.study.conftest import run


@pytest.mark.parametrize("variable", ["ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"])
def test_a_path_that_leaves_no_space_for_names_is_an_error_at_once(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = os.pathconf("/", "PC_PATH_MAX")
    monkeypatch.setenv(variable, "/" + "x" * (limit - RESERVED_BYTES - 1))
    assert run() == study.WRONG
    error = capsys.readouterr().err
    assert f"the path has {limit - RESERVED_BYTES} bytes" in error.replace("\n", " ")
    assert f"or set {variable}" in error
    assert not Path("runs").exists()


def test_a_path_that_leaves_space_for_names_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", f"{Path.cwd()}/{'x/' * 100}")
    assert run() == study.DONE
