"""A read-only view of a file in which some bytes are left out, added or replaced.

It lets the decoder read a member of a tar in place, and past a length in a header that is wrong.
"""

import io
import os
from collections.abc import Mapping
from typing import BinaryIO


class ByteView(io.RawIOBase):
    """The bytes `prefix` and then `start` to `stop` of a file.

    Args:
        file: an open file.
        start: the first byte of the file in the view.
        stop: the byte after the last one; default: the end of the file.
        prefix: bytes in front of those of the file.
        patches: bytes that replace those of the file, by their offset in the file.
        closes_file: whether the file is closed with the view.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int = 0,
        stop: int | None = None,
        *,
        prefix: bytes = b"",
        patches: Mapping[int, bytes] | None = None,
        closes_file: bool = False,
    ) -> None:
        self._file = file
        self._start = start
        self._stop = file.seek(0, os.SEEK_END) if stop is None else stop
        self._prefix = prefix
        self._patches = patches or {}
        self._closes_file = closes_file
        self._position = 0

    def close(self) -> None:
        """Closes the view, and the file if it belongs to the view."""
        if self._closes_file:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Returns the position in the view."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position in the view and returns it."""
        size = len(self._prefix) + max(0, self._stop - self._start)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}[whence]
        if base + offset < 0:
            raise OSError(f"position {base + offset} lies before the first byte")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fills `buffer` from the present position; returns the number of bytes, 0 at the end."""
        target = memoryview(buffer).cast("B")
        head = self._prefix[self._position : self._position + len(target)]
        target[: len(head)] = head
        if len(head) == len(target):
            self._position += len(head)
            return len(head)
        place = self._start + max(0, self._position - len(self._prefix))
        self._file.seek(place)
        content = self._file.read(max(0, min(len(target) - len(head), self._stop - place)))
        content = _apply(self._patches, content, place)
        target[len(head) : len(head) + len(content)] = content
        self._position += len(head) + len(content)
        return len(head) + len(content)


def _apply(patches: Mapping[int, bytes], content: bytes, place: int) -> bytes:
    """Replaces the patched bytes of `content`, which begins at `place` in the file."""
    for offset, patch in patches.items():
        first, last = max(offset, place), min(offset + len(patch), place + len(content))
        if first < last:
            middle = patch[first - offset : last - offset]
            content = content[: first - place] + middle + content[last - place :]
    return content
