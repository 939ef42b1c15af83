"""How a typed record becomes JSON and comes back: the only reader and writer of such files.

A record is a frozen dataclass that derives from `Record`. Its JSON holds its fields and `format`,
the version of its layout. For a file of another version, an error says what to do.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ablate.core.io import DamagedFileError, find_json, write_json

CHECKSUM = "checksum"

if TYPE_CHECKING:  # slow to import; `ablate --help` reads no record
    from pydantic import ConfigDict, TypeAdapter


class FormatError(ValueError):
    """A file or message is not the record that it should be; the message gives the remedy."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A typed group of fields inside a record; unknown fields are refused."""

    __pydantic_config__: ClassVar["ConfigDict"] = {
        "extra": "forbid",
        "ser_json_inf_nan": "constants",  # as Python's json writes and reads them
    }


@dataclass(frozen=True, kw_only=True)
class Record(Item):
    """A typed record with a version.

    Subclasses are frozen keyword-only dataclasses. `FORMAT` is raised when fields change their
    name or meaning; `REMEDY` completes the error for a file of another format. Files of a class
    with `HAS_CHECKSUM` end with one, which is verified when they are read; those of a class that
    `MAY_LACK_CHECKSUM`, because earlier versions wrote none, only if they have one.
    """

    FORMAT: ClassVar[int] = 1
    HAS_CHECKSUM: ClassVar[bool] = False
    MAY_LACK_CHECKSUM: ClassVar[bool] = False
    REMEDY: ClassVar[str] = "delete it and run the study again"

    def to_json(self) -> dict[str, Any]:
        """Returns plain data: `format` and every field."""
        content: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return {"format": self.FORMAT, **content}

    def to_checked_json(self) -> dict[str, Any]:
        """Returns what `to_json` returns, with the checksum if the class has one."""
        content = self.to_json()
        return {**content, CHECKSUM: _compute_checksum(content)} if self.HAS_CHECKSUM else content

    def to_text(self) -> str:
        """Returns what `to_json` returns as a text of JSON, with a fraction of its memory."""
        try:
            # ASCII, since pipes have the encoding of the locale
            fields = _adapter(type(self)).dump_json(self, ensure_ascii=True).decode()
        except ValueError:  # a name of a file that is not UTF-8
            return json.dumps(self.to_json())
        return f'{{"format": {self.FORMAT}{", " if len(fields) > 2 else ""}{fields[1:]}'

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> Self:
        """Builds the record from plain data; `source` names it in errors.

        Raises `FormatError` for another format, for fields that are missing, unknown or of a wrong
        type, and for a checksum that is not that of the content.
        """
        if cls.HAS_CHECKSUM and CHECKSUM in content:
            content = dict(content)
            if content.pop(CHECKSUM) != _compute_checksum(content):
                raise FormatError(f"{source} does not match its checksum: {cls.REMEDY}")
        version = content.get("format")
        if version != cls.FORMAT:
            actual = "no `format`" if version is None else f"format {version!r}"
            raise FormatError(
                f"{source} has {actual}; this version of ablate reads format {cls.FORMAT}: "
                f"{cls.REMEDY}"
            )
        from pydantic import ValidationError

        fields = {key: value for key, value in content.items() if key != "format"}
        try:
            record: Self = _adapter(cls).validate_python(fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise FormatError(f"{source}: `{where}`: {first['msg']}; {cls.REMEDY}") from error
        return record

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """Reads the record from a JSON file; None if the file is missing.

        Raises `FormatError` as `from_json` does, `DamagedFileError` for a file that is not JSON, or
        whose checksum is wrong.
        """
        content = find_json(path)
        if content is None:
            return None
        if cls.HAS_CHECKSUM and content.get("format") == cls.FORMAT:
            expected = content.pop(CHECKSUM, None)
            is_missing = expected is None and cls.MAY_LACK_CHECKSUM
            if not is_missing and expected != _compute_checksum(content):
                problem = "has no checksum" if expected is None else "does not match its checksum"
                raise DamagedFileError(path, problem)
        return cls.from_json(content, str(path))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the record from a JSON file that must exist.

        Raises `FileNotFoundError`, and whatever `find` raises.
        """
        record = cls.find(path)
        if record is None:
            raise FileNotFoundError(f"{path} is missing")
        return record

    def write(self, path: Path, *, private: bool = False) -> None:
        """Writes the record to a JSON file, atomically; only its owner may read a `private` one."""
        write_json(path, self.to_checked_json(), private=private)


def _compute_checksum(content: Mapping[str, Any]) -> str:
    """Hashes the content of a file, whatever its spaces and the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


_ADAPTERS: dict[type, "TypeAdapter[Any]"] = {}


def _adapter(kind: type) -> "TypeAdapter[Any]":
    """Returns the validator of a record class, created once."""
    from pydantic import TypeAdapter

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
