"""A record is the same after a round trip through JSON; other content is an error."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
