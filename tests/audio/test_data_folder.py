"""Data sets are looked for below ABLATE_DATA if they are not where a study names them."""

from pathlib import Path

import pytest

from ablate.audio.data_folder import find_data_path
from ablate.audio.parquet import Parquet
from ablate.audio.source import AbstractSource
from ablate.audio.sources import Folder
from ablate.audio.tar_shards import TarShards
from ablate.probing.xares import XARES


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


@pytest.mark.parametrize(
    "source",
    [
        Folder(manifest="esc"),
        TarShards(shards="esc"),
        Parquet(files="esc"),
        XARES(folder="esc"),
    ],
    ids=lambda source: type(source).__name__,
)
def test_every_source_of_files_looks_in_the_data_folder(
    source: AbstractSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path / "data"))
    assert source.location == str(tmp_path / "data" / "esc")
