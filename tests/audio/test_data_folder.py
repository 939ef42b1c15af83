"""Data sets are looked for below ABLATE_DATA if they are not where a study names them."""

from pathlib import Path

import pytest

from ablate.audio.data_folder import find_data_path


def test_the_working_folder_comes_before_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, data = tmp_path / "work", tmp_path / "data"
    for folder in (work, data / "esc", data / "shards"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    assert find_data_path("esc/manifest.csv") == work / "esc/manifest.csv"
    monkeypatch.setenv("ABLATE_DATA", str(data))
    assert find_data_path("esc/manifest.csv") == data / "esc/manifest.csv"
    assert find_data_path("shards/**/*.tar") == data / "shards/**/*.tar"
    assert find_data_path("*.tar") == data / "*.tar"
    assert find_data_path(str(work / "own.csv")) == work / "own.csv"
    (work / "esc").mkdir()
    (work / "esc/manifest.csv").touch()
    (work / "one.tar").touch()
    assert find_data_path("esc/manifest.csv") == work / "esc/manifest.csv"
    assert find_data_path("*.tar") == work / "*.tar"
