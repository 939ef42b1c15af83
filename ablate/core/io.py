"""Atomic file writes: temporary file, fsync, rename; and JSON files."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


class DamagedFileError(ValueError):
    """A file of ablate is not as it was written; the message names it.

    Attributes:
        path: the file.
        problem: what is wrong with it, as in "is not JSON".
    """

    def __init__(self, path: Path, problem: str, remedy: str = "delete it and run again") -> None:
        super().__init__(f"{path} {problem}; {remedy}")
        self.path = path
        self.problem = problem


@contextmanager
def open_atomically(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Opens a temporary file that replaces `path` when the block ends without an error.

    Only its owner may read or write a `private` file; for others, the process's umask counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            if private:
                os.fchmod(file.fileno(), 0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None  # name the file that was wanted
        raise


def write_atomically(path: Path, content: bytes | str, *, private: bool = False) -> None:
    """Replaces a file's content; a reader or a crash never sees a part of it.

    `private` as in `open_atomically`.
    """
    with open_atomically(path, private=private) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Writes a value as indented JSON, atomically; `private` as in `open_atomically`."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text, private=private)


def find_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None if the file is missing.

    Raises `DamagedFileError` for other content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(path, f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise DamagedFileError(path, "is not a JSON object")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises `FileNotFoundError` if the file is missing, or `ValueError`."""
    content = find_json(path)
    if content is None:
        raise FileNotFoundError(f"{path} is missing")
    return content
