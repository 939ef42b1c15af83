"""The summary of a manifest counts clips and finds unreadable files."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ablate.audio.manifest_summary import MAX_FILES, MAX_LABELS, summarize_manifest


def write(folder: Path, rows: Sequence[str], *, part: str = "split") -> list[str]:
    """Writes a manifest with rows `path,label,split` and returns its summary."""
    (folder / "manifest.csv").write_text("\n".join([f"path,label,{part}", *rows]) + "\n")
    return list(summarize_manifest(folder / "manifest.csv", lambda done, total: None))


@pytest.fixture
def sound(tmp_path: Path) -> str:
    soundfile.write(tmp_path / "sound.wav", np.zeros(8), 8000)
    return "sound.wav"


def test_clips_are_counted_by_label_and_split(tmp_path: Path, sound: str) -> None:
    rows = [f"{sound},dog,train"] * 3 + [f"{sound},dog,test", f"{sound},wood pigeon,valid"]
    assert write(tmp_path, rows) == [
        "              train  valid   test",
        "dog               3      0      1",
        "wood pigeon       0      1      0",
        "all               3      1      1",
    ]


def test_a_clip_of_several_labels_counts_for_each(tmp_path: Path, sound: str) -> None:
    lines = write(tmp_path, [f"{sound},dog;rain,train", f"{sound},rain,test", f"{sound},-,test"])
    assert [line.split() for line in lines[1:]] == [
        ["dog", "1", "0"],
        ["rain", "1", "1"],
        ["all", "1", "2"],
    ]


def test_clips_are_counted_by_fold(tmp_path: Path, sound: str) -> None:
    lines = write(tmp_path, [f"{sound},dog,2", f"{sound},dog,1", f"{sound},cat,1"], part="fold")
    assert [line.split() for line in lines] == [
        ["1", "2"],
        ["cat", "1", "0"],
        ["dog", "1", "1"],
        ["all", "2", "1"],
    ]


def test_many_labels_are_counted_and_not_listed(tmp_path: Path, sound: str) -> None:
    lines = write(tmp_path, [f"{sound},label {n:02},train" for n in range(MAX_LABELS + 7)])
    assert len(lines) == MAX_LABELS + 3
    assert lines[-2] == "... and 7 more labels of 1 to 1 clips each"


def test_unreadable_files_are_named(tmp_path: Path, sound: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "words.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "short.wav", np.zeros(0), 8000)
    rows = [f"{name},dog,train" for name in ("empty.wav", sound, "words.wav", "gone.wav")]
    lines = write(tmp_path, [*rows, "short.wav,dog,train"])
    start = next(i for i, line in enumerate(lines) if "cannot be read" in line)
    assert lines[start].startswith("4 of 5 files cannot be read.")
    named = [line.split(":")[0].strip() for line in lines[start + 1 :]]
    assert named == ["empty.wav", "words.wav", "gone.wav", "short.wav"]


def test_a_folder_full_of_other_files_is_not_listed_in_full(tmp_path: Path) -> None:
    lines = write(tmp_path, [f"{n}.wav,dog,train" for n in range(MAX_FILES + 2)])
    assert lines[-1] == "  ... and 2 more"


def test_progress_is_reported(tmp_path: Path, sound: str) -> None:
    write(tmp_path, [f"{sound},dog,train"] * 3)
    calls: list[tuple[int, int]] = []
    list(
        summarize_manifest(
            tmp_path / "manifest.csv", lambda done, total: calls.append((done, total))
        )
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_summarising_a_manifest_needs_no_torch() -> None:
    code = "import sys, ablate.audio.manifest_summary; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
