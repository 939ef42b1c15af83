"""A record is the same after a round trip through JSON; other content is an error."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ablate.core.io import DamagedFileError
from ablate.core.records.record import FormatError, Record


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Example(Record):
    FORMAT: ClassVar[int] = 3
    REMEDY: ClassVar[str] = "make it again"
    count: int
    parts: tuple[Part, ...] = ()
    words: dict[str, str] = field(default_factory=dict)


PARTS = st.builds(Part, name=st.text(), share=st.none() | st.floats(allow_nan=False))
EXAMPLES = st.builds(
    Example,
    count=st.integers(-(2**53), 2**53),
    parts=st.lists(PARTS).map(tuple),
    words=st.dictionaries(st.text(), st.text()),
)


@given(record=EXAMPLES)
def test_a_record_comes_back_from_json_as_it_was(record: Example) -> None:
    content = json.loads(json.dumps(record.to_json()))
    assert Example.from_json(content, "it") == record


@given(record=EXAMPLES)
@example(record=Example(count=1, words={"path": "caf\udce9.wav"}))
@example(record=Example(count=1, words={"path": "caf\u00e9.wav"}))
def test_the_text_of_a_record_is_its_json_in_ascii(record: Example) -> None:
    assert record.to_text().isascii()  # pipes may have another encoding
    assert json.loads(record.to_text()) == json.loads(json.dumps(record.to_json()))


class Verified(Example):
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True


def test_a_checksum_that_a_file_may_lack_is_verified_if_it_has_one(tmp_path: Path) -> None:
    file = tmp_path / "example.json"
    Verified(count=2).write(file)
    file.write_text(file.read_text().replace('"count": 2', '"count": 3'))
    with pytest.raises(DamagedFileError, match="does not match its checksum"):
        Verified.read(file)
    Example(count=3).write(file)
    assert Verified.read(file).count == 3


def test_a_record_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    record = Example(count=2, parts=(Part(name="a", share=0.5),))
    record.write(tmp_path / "example.json")
    assert Example.read(tmp_path / "example.json") == record
    assert Example.find(tmp_path / "missing.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"count": 1}, "it has no `format`; .* reads format 3: make it again"),
        ({"format": 2, "count": 1}, "it has format 2; .*: make it again"),
        ({"format": 3}, "it: `count`: Field required; make it again"),
        ({"format": 3, "count": "many"}, "it: `count`: .*; make it again"),
        ({"format": 3, "count": 1, "counts": 2}, "it: `counts`: .*; make it again"),
        ({"format": 3, "count": 1, "parts": [{"nam": ""}]}, r"it: `parts\.0\..*`: "),
    ],
)
def test_other_content_is_rejected_with_the_remedy(
    content: dict[str, object], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        Example.from_json(content, "it")
