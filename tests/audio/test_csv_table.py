"""Manifests are read as spreadsheets and scripts write them, or refused with the cause."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.csv_table import CsvTable
from ablate.audio.sources import Folder
from tests.audio.sounds import create_tone, write_clip

ROWS = [["a.wav", "dog", "train"], ["sub/b.wav", "rain; drops", "test"], ["c.wav", "犬", "val"]]
HEADER = ["path", "label", "split"]


def format_csv(separator: str = ",", newline: str = "\r\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=newline).writerows([HEADER, *ROWS])
    return file.getvalue()


def read(folder: Path, content: bytes) -> list[list[str]]:
    file = folder / "manifest.csv"
    file.write_bytes(content)
    clips = Folder(manifest=str(file)).clips()
    return [[clip.path, clip.label, clip.split] for clip in clips]


EXPECTED = [[path, label, {"val": "valid"}.get(split, split)] for path, label, split in ROWS]


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separators_encodings_and_line_ends_are_recognised(
    tmp_path: Path, separator: str, encoding: str, newline: str
) -> None:
    assert read(tmp_path, format_csv(separator, newline).encode(encoding)) == EXPECTED


@pytest.mark.parametrize("separator", list(",;\t"))
def test_a_line_that_names_the_separator_is_skipped(tmp_path: Path, separator: str) -> None:
    text = f"sep={separator}\r\n{format_csv(separator)}"
    assert read(tmp_path, text.encode()) == EXPECTED


def test_empty_lines_and_cells_and_an_index_column_are_ignored(tmp_path: Path) -> None:
    lines = format_csv(newline="\n").splitlines()
    indexed = [f"{index},{line},," for index, line in enumerate(lines)]
    indexed[0] = f",{lines[0]},,"
    assert read(tmp_path, "\n\n".join([*indexed, ",,,,,", ""]).encode()) == EXPECTED


def test_lines_are_counted_as_in_an_editor(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("sep=,\npath,label,split\n\na.wav,,train\n")
    with pytest.raises(ValueError, match=r"m\.csv:4: the label is empty"):
        Folder(manifest=str(tmp_path / "m.csv")).clips()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label,split\na.wav,ténor,train\n".encode("latin-1"), "save it as UTF-8"),
        (b"path,label,split,label\na.wav,x,train,y\n", "more than one column `label`"),
        (b"Path,Label,Split\na.wav,x,train\n", "did you mean `Path`"),
        (b"path,label,split\na.wav,x,train,more\n", "more cells than the header"),
        (b"path,label,split\nC:\\sounds\\a.wav,x,train\n", "on a Windows drive"),
        (b"path,label,split,start,end\na.wav,x,train,one,2\n", "`start` must be a time"),
        (b"path,label,split,start,end\na.wav,x,train,2,1\n", "must end after its start"),
        (b"path,label,split,start,end\na.wav,x,train,-1,1\n", "`start` must be a time"),
    ],
)
def test_an_unreadable_table_is_an_error_that_states_the_cause(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_backslashes_separate_folders_unless_a_file_has_them_in_its_name(tmp_path: Path) -> None:
    write_clip(tmp_path, "odd\\name.wav", create_tone())
    rows = read(tmp_path, b"path,label,split\nsub\\a.wav,x,train\nodd\\name.wav,y,test\n")
    assert [path for path, _, _ in rows] == ["sub/a.wav", "odd\\name.wav"]


@pytest.mark.parametrize(
    ("listed", "present"),
    [("e\u0301.wav", "\u00e9.wav"), ("dog.wav", "Dog.WAV"), ("dog.wav", " dog.wav")],
)
def test_a_missing_file_is_named_with_one_that_looks_alike(
    tmp_path: Path, listed: str, present: str
) -> None:
    write_clip(tmp_path, present, create_tone())
    (tmp_path / "m.csv").write_text(f"path,label,split\n{listed},x,train\n")
    source = Folder(manifest=str(tmp_path / "m.csv"))
    assert source.stamp(0) is None
    assert repr(present) in source.describe_missing(0)


@given(
    rows=st.lists(
        st.tuples(st.text(min_size=1), st.text()).filter(lambda row: row[0].strip()), min_size=1
    )
)
def test_whatever_a_csv_writer_writes_is_read(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    with file.open("w", newline="", encoding="utf-8", errors="surrogatepass") as text:
        try:
            csv.writer(text).writerows([["path", "label"], *rows])
        except (UnicodeError, csv.Error):
            return
    try:
        read_rows = [row.cells for row in CsvTable(file, required="path").rows()]
    except (UnicodeError, csv.Error):
        return
    assert [row["path"] for row in read_rows] == [path.strip() for path, _ in rows]
