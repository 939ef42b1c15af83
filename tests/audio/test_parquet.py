"""Parquet files, as the Hugging Face Hub stores audio, are read as a source."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.parquet import Parquet
from ablate.testing import check_source

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow: .[parquet]")
parquet = pytest.importorskip("pyarrow.parquet")
NAMES = ["dog", "rain"]


def encode(hertz: float) -> bytes:
    buffer = io.BytesIO()
    wave = np.sin(2 * np.pi * hertz * np.arange(1600) / 16000).astype(np.float32)
    soundfile.write(buffer, wave, 16000, format="FLAC")
    return buffer.getvalue()


def write(file: Path, columns: dict, *, names: list[str] | None = None, rows: int = 2) -> None:
    """Writes a table as `datasets` does, in groups of two rows."""
    table = pyarrow.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file, row_group_size=rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "validation", "test"):
        audio = [{"bytes": encode(200 * (i + 1)), "path": f"{i}.flac"} for i in range(3)]
        columns = {"audio": audio, "label": [0, 1, 0]}
        write(tmp_path / f"pets/data/{split}-00000-of-00001.parquet", columns, names=NAMES)
    return tmp_path / "pets"


def test_a_data_set_of_the_hub_is_a_source(folder: Path) -> None:
    source = Parquet(files=str(folder))
    check_source(source)
    clips = source.clips()
    assert [clip.label for clip in clips] == ["dog", "rain", "dog"] * 3
    assert [clip.split for clip in clips] == ["test"] * 3 + ["train"] * 3 + ["valid"] * 3
    assert {clip.task for clip in clips} == {"pets"}
    samples, rate = source.read(2)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * rate / len(samples) == 600


def test_a_column_may_hold_the_split_and_several_labels(tmp_path: Path) -> None:
    columns = {
        "sound": [encode(300), encode(400)],
        "events": [["dog", "rain"], ["rain"]],
        "part": ["train", "eval"],
    }
    write(tmp_path / "all.parquet", columns)
    source = Parquet(files=str(tmp_path), audio="sound", label="events", split="part", task="t")
    assert [(clip.label, clip.split) for clip in source.clips()] == [
        ("dog;rain", "train"),
        ("rain", "test"),
    ]
    assert source.content_digest(0) != source.content_digest(1)


def test_mistakes_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="has no column `category`; it has audio, label"):
        Parquet(files=str(folder), label="category").clips()
    with pytest.raises(ValueError, match="no file matches"):
        Parquet(files=str(folder / "nosuch*")).clips()
    write(folder / "data" / "more.parquet", {"audio": [b""], "label": ["dog"]})
    with pytest.raises(ValueError, match=r"names contain no split: `more\.parquet`"):
        Parquet(files=str(folder)).clips()


def test_rows_without_a_label_or_bytes_are_named(tmp_path: Path) -> None:
    audio = [{"bytes": encode(300), "path": "a"}, {"bytes": None, "path": "b"}]
    write(tmp_path / "train.parquet", {"audio": audio, "label": [None, "dog"]})
    with pytest.raises(BadAudioError, match=r"`train\.parquet/0/0`: has no label"):
        Parquet(files=str(tmp_path), task="t").clips()
    numbers = {"audio": [encode(300)], "label": [-1]}
    write(tmp_path / "numbers" / "train.parquet", numbers, names=NAMES)
    with pytest.raises(BadAudioError, match="has no label"):
        Parquet(files=str(tmp_path / "numbers")).clips()
    source = Parquet(files=str(tmp_path / "train.parquet"), task="t", on_bad_audio="skip")
    assert [clip.label for clip in source.clips()] == ["dog"]
    assert source.skipped_clips == [("train.parquet/0/0", "has no label in column `label`")]
    with pytest.raises(BadAudioError, match="holds no bytes"):
        source.read(0)
