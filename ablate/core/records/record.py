"""How a typed record becomes JSON and comes back: the only reader and writer of such files.

A record is a frozen dataclass that derives from `Record`. Its JSON holds its fields and `format`,
the version of its layout. For a file of another version, an error says what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ablate.core.io import find_json, write_json

if TYPE_CHECKING:  # slow to import; `ablate --help` reads no record
    from pydantic import ConfigDict, TypeAdapter


class FormatError(ValueError):
    """A file or message is not the record that it should be; the message gives the remedy."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A typed group of fields inside a record; unknown fields are refused."""

    __pydantic_config__: ClassVar["ConfigDict"] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Record(Item):
    """A typed record with a version.

    Subclasses are frozen keyword-only dataclasses. `FORMAT` is raised when fields change their
    name or meaning; `REMEDY` completes the error for a file of another format.
    """

    FORMAT: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "delete it and run the study again"

    def to_json(self) -> dict[str, Any]:
        """Returns plain data: `format` and every field."""
        content: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json")
        return {"format": self.FORMAT, **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: str) -> Self:
        """Builds the record from plain data; `source` names it in errors.

        Raises `FormatError` for another format, and for fields that are missing, unknown or of a
        wrong type.
        """
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

        Raises `FormatError` as `from_json` does, `ValueError` for a file that is not JSON.
        """
        content = find_json(path)
        return None if content is None else cls.from_json(content, str(path))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the record from a JSON file that must exist.

        Raises `FileNotFoundError`, and whatever `find` raises.
        """
        record = cls.find(path)
        if record is None:
            raise FileNotFoundError(f"{path} is missing")
        return record

    def write(self, path: Path) -> None:
        """Writes the record to a JSON file, atomically."""
        write_json(path, self.to_json())


_ADAPTERS: dict[type, "TypeAdapter[Any]"] = {}


def _adapter(kind: type) -> "TypeAdapter[Any]":
    """Returns the validator of a record class, created once."""
    from pydantic import TypeAdapter

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
