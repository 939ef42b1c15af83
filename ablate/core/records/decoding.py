"""Defines the messages between a process that builds a clip store and those that decode for it."""

from dataclasses import dataclass
from typing import Any

from ablate.core.records.protocol import Message


@dataclass(frozen=True, kw_only=True)
class DecodeOrder(Message):
    """The only line to a decoding process: what to decode, in this order."""

    source: dict[str, Any]  # settings, every default written out
    front_end: dict[str, Any]
    clips: tuple[tuple[int, str], ...]  # index and path


@dataclass(frozen=True, kw_only=True)
class FramesHead(Message):
    """Announces frames of a clip; their bytes follow the line, float16."""

    frames: int


@dataclass(frozen=True, kw_only=True)
class ClipEnd(Message):
    """Ends a clip; without `reasons`, the frames before it are the whole clip."""

    digest: str = ""
    flags: int = 0
    reasons: tuple[str, ...] = ()  # why the clip cannot be used


DECODER_MESSAGES: tuple[type[Message], ...] = (FramesHead, ClipEnd)
