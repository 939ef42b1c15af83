"""Features of many files: found, batched, written to a table, and continued when interrupted."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import ablate
from ablate.cli.main import app
from ablate.export import feature_files


@pytest.fixture(scope="module")
def encoder(exported):
    return ablate.load_encoder(exported.folder)


@pytest.fixture
def folder(tmp_path):
    """Five sounds of different lengths in two folders, and files that are none."""
    root = tmp_path / "sounds"
    (root / "b").mkdir(parents=True)
    for number, name in enumerate(("z.wav", "a.flac", "b/c.ogg", "b/d.WAV", "k.wav")):
        samples = np.random.default_rng(number).normal(size=3000 * (number + 1)) / 10
        formats = {"WAV": "WAV", "wav": "WAV", "flac": "FLAC", "ogg": "OGG"}
        soundfile.write(root / name, samples, 16000, format=formats[name.split(".")[1]])
    (root / "notes.txt").write_text("no sound")
    (root / ".hidden.wav").write_text("no sound")
    return root


@pytest.fixture
def groups_of_two(monkeypatch):
    monkeypatch.setattr(feature_files, "FILES_AT_ONCE", 2)


@pytest.mark.usefixtures("groups_of_two")
def test_a_folder_has_one_row_per_file_in_the_order_of_paths(encoder, folder):
    features = encoder.features(folder)
    names = ["a.flac", "b/c.ogg", "b/d.WAV", "k.wav", "z.wav"]
    expected = torch.stack([encoder.features(folder / name) for name in names])
    assert torch.allclose(features, expected, atol=1e-6)
    assert torch.allclose(encoder.features(folder / "*.wav"), features[[3, 4]], atol=1e-6)
    assert torch.allclose(encoder.features(str(folder / "**/*.ogg")), features[[1]], atol=1e-6)


def test_a_group_ends_when_it_holds_enough_audio(encoder, folder, monkeypatch):
    monkeypatch.setattr(feature_files, "SECONDS_AT_ONCE", 0.1)
    done = []
    encoder.features(folder, on_progress=lambda *progress: done.append(progress))
    assert done == [(number, 5) for number in range(1, 6)]


@pytest.mark.usefixtures("groups_of_two")
def test_a_table_holds_paths_and_features(encoder, folder, tmp_path):
    table = tmp_path / "out" / "features.npz"
    features = encoder.features(folder, to=table)
    with np.load(table) as saved:
        assert saved["paths"].tolist() == sorted(map(str, folder.rglob("[!.]*.[wWfo]*")))
        assert np.array_equal(saved["features"], features.numpy())
    assert list(table.parent.iterdir()) == [table]


def test_a_parquet_table_holds_paths_and_features(encoder, folder, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    features = encoder.features(folder, to=tmp_path / "features.parquet")
    table = pandas.read_parquet(tmp_path / "features.parquet")
    assert table.path.tolist() == sorted(map(str, folder.rglob("[!.]*.[wWfo]*")))
    assert np.array_equal(np.stack(table.features), features.numpy())


def test_without_pyarrow_a_parquet_table_is_an_error_before_any_decoding(
    encoder, folder, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(feature_files.importlib.util, "find_spec", lambda name: None)
    (folder / "z.wav").write_text("broken")
    with pytest.raises(ValueError, match="needs pyarrow"):
        encoder.features(folder, to=tmp_path / "features.parquet")


class InterruptedCallError(Exception):
    """Raised after some files, as Ctrl-C would be."""


def interrupt(done, total):
    if done >= 4:
        raise InterruptedCallError


@pytest.mark.usefixtures("groups_of_two")
def test_an_interrupted_call_continues_and_encodes_changed_files_again(encoder, folder, tmp_path):
    table = tmp_path / "features.npz"
    with pytest.raises(InterruptedCallError):
        encoder.features(folder, to=table, on_progress=interrupt)
    samples, rate = soundfile.read(folder / "a.flac")
    soundfile.write(folder / "a.flac", samples[::-1], rate)
    os.utime(folder / "a.flac", (1, 1))
    done = []
    features = encoder.features(folder, to=table, on_progress=lambda *new: done.append(new))
    assert done == [(5, 5)]  # three were kept; the changed file and the fifth are one group
    assert torch.allclose(features, encoder.features(folder), atol=1e-6)


@pytest.mark.usefixtures("groups_of_two")
def test_features_of_another_view_are_not_continued_from(encoder, folder, tmp_path):
    table = tmp_path / "features.npz"
    with pytest.raises(InterruptedCallError):
        encoder.features(folder, to=table, view="max", on_progress=interrupt)
    features = encoder.features(folder, to=table, view="layer1.mean")
    assert torch.allclose(features, encoder.features(folder, view="layer1.mean"), atol=1e-6)
    assert features.shape == (5, 16)


@pytest.mark.usefixtures("groups_of_two")
def test_broken_files_are_named_after_all_others_are_done(encoder, folder, tmp_path):
    (folder / "k.wav").write_text("broken")
    (folder / "b" / "c.ogg").write_bytes(b"")
    table = tmp_path / "features.npz"
    with pytest.raises(ValueError, match=r"(?s)c\.ogg.*k\.wav.*the same call continues"):
        encoder.features(folder, to=table)
    done = []
    with pytest.warns(UserWarning, match="was left out: cannot be decoded"):
        features = encoder.features(
            folder, to=table, on_bad_audio="skip", on_progress=lambda *new: done.append(new)
        )
    assert done == []
    with np.load(table) as saved:
        assert [Path(path).name for path in saved["paths"]] == ["a.flac", "d.WAV", "z.wav"]
    assert len(features) == 3


def test_invalid_arguments_are_errors(encoder, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("empty", "*.flac", "empty/**/*"):
        with pytest.raises(ValueError, match="has no audio file"):
            encoder.features(tmp_path / place)
    with pytest.raises(ValueError, match=r"must end in \.parquet or \.npz"):
        encoder.features(folder, to=tmp_path / "features.csv")
    (tmp_path / "there.npz").write_text("")
    with pytest.raises(ValueError, match=r"there\.npz` exists"):
        encoder.features(folder, to=tmp_path / "there.npz")
    with pytest.raises(ValueError, match="`to` is for the features of a folder"):
        encoder.features(folder / "z.wav", to=tmp_path / "features.npz")
    with pytest.raises(ValueError, match="`sample_rate` is for waveforms"):
        encoder.features(folder, sample_rate=16000)
    with pytest.raises(ValueError, match="no view `layer0"):
        encoder.features(folder, view="layer0.mean")


def test_the_command_writes_the_table_of_a_run_or_of_an_export(
    exported, encoder, folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("ABLATE_RUNS", str(exported.run.parent))
    (folder / "k.wav").write_text("broken")
    expected = encoder.features(folder / "b" / "*", view="layer1.mean")
    for number, name in enumerate((exported.run.name[:4], str(exported.folder))):
        table = tmp_path / f"{number}.npz"
        command = ["features", name, str(folder / "b" / "*"), "--to", str(table)]
        result = CliRunner().invoke(app, [*command, "--view", "layer1.mean"])
        assert result.exit_code == 0, result.output
        assert "2 files, 16 features each" in result.output
        with np.load(table) as saved:
            assert np.allclose(saved["features"], expected, atol=1e-5)
    command = ["features", str(exported.folder), str(folder), "--to", str(tmp_path / "all.npz")]
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 2
    assert "k.wav" in failed.output
    skipped = CliRunner().invoke(app, [*command, "--skip-bad-audio"])
    assert skipped.exit_code == 0
    assert "left out" in skipped.output
