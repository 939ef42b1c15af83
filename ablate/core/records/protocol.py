"""Defines the messages of a worker: how requests, replies and progress become lines of JSON.

A client writes one request per line. The worker answers with any number of progress messages and
then with one reply, or with an error. Each line names the class of its message.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from ablate.core.records.record import FormatError, Record


@dataclass(frozen=True, kw_only=True)
class Message(Record):
    """One line between a client and a worker."""

    REMEDY: ClassVar[str] = "client and worker must be of the same version of ablate"

    def to_line(self) -> str:
        """Returns the message as a line of JSON, with the name of its class."""
        return f'{{"message": "{type(self).__name__}", {self.to_text()[1:]}\n'


@dataclass(frozen=True, kw_only=True)
class Reply(Message):
    """The last line of a worker's answer."""


ReplyT = TypeVar("ReplyT", bound=Reply)


@dataclass(frozen=True, kw_only=True)
class Request(Message, Generic[ReplyT]):
    """One thing that a client asks a worker to do; answered with a `ReplyT` or an `ErrorReply`."""


def parse_message(line: str | bytes, kinds: Iterable[type[Message]]) -> Message:
    """Parses a line as a message of one of the classes `kinds`.

    Raises `FormatError` for a line that is not such a message, or of another version.
    """
    try:
        content = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"not a message: {error}") from error
    if not isinstance(content, dict):
        raise FormatError("not a message: a JSON object is expected")
    name = content.pop("message", None)
    for kind in kinds:
        if kind.__name__ == name:
            return kind.from_json(content, f"message `{name}`")
    raise FormatError(f"no message is called {name!r}")
